"""Run as a process of its own, as an agent would: an SDK gets its credentials its own way, then calls an API."""

from __future__ import annotations

import sys


def service_account(file: str, url: str) -> tuple[str, str]:
    from google.auth.transport.requests import AuthorizedSession, Request
    from google.oauth2 import service_account as sa

    credentials = sa.Credentials.from_service_account_file(
        file, scopes=["https://www.googleapis.com/auth/cloud-platform"]
    )
    credentials.refresh(Request())
    assert credentials.valid
    return credentials.token, AuthorizedSession(credentials).get(url).text


def compute_engine(url: str) -> tuple[str, str]:
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    credentials, project = google.auth.default()
    assert project == "widgets-project", project
    reply = AuthorizedSession(credentials).get(url)
    return credentials.token, reply.text


def boto3_call(url: str) -> tuple[str, str]:
    import boto3
    from botocore.config import Config

    session = boto3.Session(region_name="eu-west-1")
    credentials = session.get_credentials()
    assert credentials is not None, "no credentials found"
    config = Config(retries={"max_attempts": 1}, proxies={"https": sys.argv[3]})
    client = session.client("sts", endpoint_url=url, config=config)
    frozen = credentials.get_frozen_credentials()
    client.get_caller_identity()
    return f"{credentials.method} {frozen.access_key} {frozen.secret_key} {frozen.token}", ""


def oauth_client(token_url: str, secret: str, url: str) -> tuple[str, str]:
    import requests
    from requests_oauth2client import OAuth2Client, OAuth2ClientCredentialsAuth

    client = OAuth2Client(token_endpoint=token_url, client_id="app", client_secret=secret)
    auth = OAuth2ClientCredentialsAuth(client, scope="read")
    text = requests.get(url, auth=auth, timeout=10).text
    return str(auth.token.access_token), text


if __name__ == "__main__":
    way, *given = sys.argv[1:]
    token, text = {
        "service_account": lambda: service_account(*given),
        "compute_engine": lambda: compute_engine(*given),
        "boto3": lambda: boto3_call(given[0]),
        "oauth_client": lambda: oauth_client(*given),
    }[way]()
    print(token)
    print(text)
