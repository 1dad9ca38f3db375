"""One sidecar for all tests of local answers: a provider with a token host, and metadata services."""

from __future__ import annotations

import pytest_asyncio

from tests.rig.sidecar import running_rig

KEY = "wk-REAL-0123456789abcdefghijklmnop"
SECOND = "wk-SECOND-zyxwvutsrqponmlkjihgfedcba"
API, TOKEN, METADATA = "api.widgets.test", "token.widgets.test", "169.254.169.254"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
WIDGETS = """\
schema: 1
name: widgets
title: Widgets
docs: https://widgets.test/
checked: "2026-11-25"
hosts:
  - {{host: api.widgets.test, port: {port}}}
  - {{host: token.widgets.test, port: {port}}}
  - {{host: 169.254.169.254, port: 80, scheme: http}}
  - {{host: 169.254.170.2, port: 80, scheme: http}}
  - {{host: metadata.google.internal, port: 80, scheme: http}}
  - {{host: oauth2.googleapis.com}}
secrets:
  key: {{stand_in: {{template: "wk-{{base62:28}}"}}}}
  client_secret: {{stand_in: {{template: "cs-{{base62:28}}"}}, minted: true}}
  access_token: {{stand_in: {{template: "wat-{{base62:32}}"}}, minted: true}}
  refresh_token: {{stand_in: {{template: "wrt-{{base62:32}}"}}, minted: true}}
  access_key_id: {{stand_in: {{template: "AKIA{{base62:16}}"}}, minted: true}}
  secret_access_key: {{stand_in: {{template: "{{base62:40}}"}}, minted: true}}
  session_token: {{stand_in: {{template: "IQo{{base62:80}}"}}, minted: true}}
variables:
  email: {{pattern: "[a-z0-9@.-]+", default: nobody@widgets.test}}
  role_arn: {{pattern: ".*", default: "arn:aws:iam::111122223333:role/reader"}}
credentials:
  bearer: {{kind: header, header: Authorization, prefix: "Bearer ", secret: key}}
operations:
  - {{id: read, methods: [GET, POST], path: "/v1/**", hosts: [api.widgets.test], action: read}}
  - id: token
    methods: [POST]
    path: /oauth/token
    hosts: [token.widgets.test]
    action: read
    answer: {{kind: oauth_token, refresh_token: refresh_token, issuer_variable: email}}
  - id: google.token
    methods: [POST]
    path: /token
    hosts: [oauth2.googleapis.com]
    action: read
    answer: {{kind: oauth_token, issuer_variable: email}}
  - {{id: gce.ping, methods: [GET], path: /, hosts: [169.254.169.254, metadata.google.internal], action: read, headers: {{Metadata-Flavor: Google}}, answer: {{kind: document, body: "computeMetadata/", headers: {{Metadata-Flavor: Google}}}}}}
  - {{id: gce.project, methods: [GET], path: /computeMetadata/v1/project/project-id, hosts: [metadata.google.internal], action: read, headers: {{Metadata-Flavor: Google}}, answer: {{kind: document, body: widgets-project, headers: {{Metadata-Flavor: Google}}}}}}
  - {{id: gce.universe, methods: [GET], path: /computeMetadata/v1/universe/universe-domain, hosts: [metadata.google.internal], action: read, headers: {{Metadata-Flavor: Google}}, answer: {{kind: document, body: googleapis.com, headers: {{Metadata-Flavor: Google}}}}}}
  - id: gce.account
    methods: [GET]
    path: /computeMetadata/v1/instance/service-accounts/{{account}}/
    hosts: [metadata.google.internal]
    action: read
    headers: {{Metadata-Flavor: Google}}
    answer: {{kind: document, headers: {{Metadata-Flavor: Google}}, body: {{email: "{{variable:email}}", aliases: [default], scopes: [https://www.googleapis.com/auth/cloud-platform]}}}}
  - id: gce.token
    methods: [GET]
    path: /computeMetadata/v1/instance/service-accounts/{{account}}/token
    hosts: [metadata.google.internal]
    action: read
    headers: {{Metadata-Flavor: Google}}
    answer: {{kind: document, headers: {{Metadata-Flavor: Google}}, body: {{access_token: "{{stand_in:access_token}}", expires_in: 3599, token_type: Bearer}}}}
  - id: ecs.role
    methods: [GET]
    path: /v2/credentials/{{id}}
    hosts: [169.254.170.2]
    action: read
    answer:
      kind: document
      body:
        RoleArn: "{{variable:role_arn}}"
        AccessKeyId: "{{stand_in:access_key_id}}"
        SecretAccessKey: "{{stand_in:secret_access_key}}"
        Token: "{{stand_in:session_token}}"
        Expiration: "{{expires}}"
  - id: sts
    methods: [GET, POST]
    path: /
    hosts: [token.widgets.test]
    action: read
    answer: {{kind: aws_sts, role_variable: role_arn, otherwise: forward}}
  - id: imds.token
    methods: [PUT]
    path: /latest/api/token
    hosts: [169.254.169.254]
    action: read
    headers: {{X-aws-ec2-metadata-token-ttl-seconds: "*"}}
    answer:
      kind: document
      body: "{{stand_in:session_token}}"
      headers: {{X-aws-ec2-metadata-token-ttl-seconds: "{{header:x-aws-ec2-metadata-token-ttl-seconds}}"}}
  - {{id: imds.roles, methods: [GET], path: /latest/meta-data/iam/security-credentials/, hosts: [169.254.169.254], action: read, headers: {{X-aws-ec2-metadata-token: "*"}}, answer: {{kind: document, body: briefcased}}}}
  - id: imds.role
    methods: [GET]
    path: /latest/meta-data/iam/security-credentials/briefcased
    hosts: [169.254.169.254]
    action: read
    headers: {{X-aws-ec2-metadata-token: "*"}}
    answer:
      kind: document
      body:
        Code: Success
        Type: AWS-HMAC
        LastUpdated: "{{now}}"
        AccessKeyId: "{{stand_in:access_key_id}}"
        SecretAccessKey: "{{stand_in:secret_access_key}}"
        Token: "{{stand_in:session_token}}"
        Expiration: "{{expires}}"
"""
HOSTS = (API, TOKEN)
AGENTS = {"tester": ("widgets/*",), "other": ("widgets/second",), "none": ()}


def account(ref, **extra):
    return {"secrets": {"key": ref}, **extra}


SETTINGS = {
    "listeners": {
        "proxy": "127.0.0.1:0",
        "control": "127.0.0.1:0",
        "more": [{"at": "127.0.0.1:0", "kind": "base_url"}],
    },
    "providers": {
        "widgets": {
            "accounts": {
                "main": account("env:WIDGETS_KEY", default=True, variables={"email": "main@widgets.test"}),
                "second": account(
                    "env:SECOND_KEY",
                    variables={"email": "second@widgets.test", "role_arn": "arn:aws:iam::111122223333:role/second"},
                ),
            }
        }
    },
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig(tmp_path_factory):
    async with running_rig(
        tmp_path_factory.mktemp("answers"),
        profiles={"widgets": WIDGETS},
        settings=SETTINGS,
        environment={"WIDGETS_KEY": KEY, "SECOND_KEY": SECOND},
        agents=AGENTS,
        hosts=HOSTS,
    ) as running:
        yield running
