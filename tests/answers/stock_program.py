"""Run as a process of its own, as an agent would: stock SDKs that were given no credential at all."""

from __future__ import annotations

import json
import os
import sys


def aws(url: str, role: str = "") -> str:
    """One call of DynamoDB; with `role`, as that role, which the SDK assumes by itself at `sts_url`."""
    import boto3
    from botocore.config import Config

    # The test's provider is on loopback, which NO_PROXY names.
    config = Config(retries={"total_max_attempts": 1}, proxies={"https": os.environ["HTTPS_PROXY"]})
    session = boto3.Session(region_name="us-east-1")
    if role:
        sts_url, arn = role.split(" ")
        given = session.client("sts", endpoint_url=sts_url, config=config).assume_role(
            RoleArn=arn, RoleSessionName="stock"
        )
        keys = given["Credentials"]
        session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], "us-east-1")
    found = session.get_credentials()
    assert found is not None, "no credentials found"
    answer = session.client("dynamodb", endpoint_url=url, config=config).list_tables()
    frozen = found.get_frozen_credentials()
    return json.dumps([found.method, frozen.access_key, frozen.secret_key, frozen.token, answer.get("TableNames")])


def google(url: str) -> str:
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    credentials, project = google.auth.default()
    reply = AuthorizedSession(credentials).get(url, proxies={"https": os.environ["HTTPS_PROXY"]})
    return json.dumps([type(credentials).__module__, project, credentials.token, reply.status_code])


if __name__ == "__main__":
    way, *given = sys.argv[1:]
    print({"aws": aws, "google": google}[way](*given))
