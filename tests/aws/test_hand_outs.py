"""The shipped profile against the AWS SDK's models: no operation whose answer has keys or tokens in it is ever signed."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import botocore
import pytest

from proxy.aws import actions
from proxy.catalog.loader import load_profiles, shipped
from proxy.model import Authority, RequestHead

WORDS = (
    "secretaccesskey", "sessiontoken", "accesstoken", "authorizationtoken", "authtoken", "bearertoken", "webidentitytoken", "dbpassword"
)  # fmt: skip
ELSEWHERE = frozenset({
    "signin",  # has no host below amazonaws.com
    "cognito-idp", "cognito-sync", "wickr",  # of an application's own users
    "connecthealth", "glue", "datazone", "taxsettings",  # what somebody stored in a job, a connection; their hand-outs are named below
})  # fmt: skip
ALSO = {
    ("glue", "GetSessionEndpoint"), ("datazone", "GetEnvironmentCredentials"), ("datazone", "GetConnection"),
    ("bedrock-agentcore", "GetResourceApiKey"), ("cognito-identity", "GetOpenIdToken"), ("iam", "CreateLoginProfile"),
    ("iam", "CreateServiceSpecificCredential"), ("iam", "ResetServiceSpecificCredential"),
}  # fmt: skip


def models():
    """Of services in which such a word stands at all."""
    for service in sorted((Path(botocore.__file__).parent / "data").iterdir()):
        newest = max(service.glob("*/service-2.json.gz"), default=None)
        text = gzip.decompress(newest.read_bytes()) if newest is not None else b""
        lower = text.lower()
        if any(word.encode() in lower for word in WORDS) or any(service.name == one for one, _ in ALSO):
            yield service.name, json.loads(text)


def hands_out(shapes, name, seen):
    if name in seen:
        return False
    seen.add(name)
    shape = shapes[name]
    members = {**shape.get("members", {}), **{n: shape[n] for n in ("member", "value") if n in shape}}
    return any(
        (one.lower().endswith(WORDS) and shapes[to["shape"]]["type"] in ("string", "blob"))
        or hands_out(shapes, to["shape"], seen)
        for one, to in members.items()
    )


def request_of(metadata, operation):
    """The head and body with which an SDK calls `operation`, without what it is about."""
    headers, body, path = (), b"", "/"
    match metadata["protocol"]:
        case "query" | "ec2":
            body = f"Action={operation['name']}&Version=1".encode()
        case "json":
            headers = (("x-amz-target", f"{metadata['targetPrefix']}.{operation['name']}"),)
        case "smithy-rpc-v2-cbor":
            path = f"/service/{metadata['serviceId']}/operation/{operation['name']}"
        case _:
            path = re.sub(r"\{[^}]*\}", "some", operation["http"]["requestUri"].partition("?")[0])
    host = Authority(f"{metadata['endpointPrefix']}.us-east-1.amazonaws.com", 443)
    return RequestHead(
        "POST", "https", host, path, tuple(path[1:].split("/")), None, headers, has_body=bool(body)
    ), body


@pytest.mark.slow
def test_p1_whatever_hands_out_credentials_is_refused():
    kinds, found, wrong = load_profiles([shipped()])["aws"].credentials.values(), set(), []
    for service, model in models():
        metadata, shapes = model["metadata"], model["shapes"]
        name = metadata.get("signingName", metadata["endpointPrefix"])
        for operation in model["operations"].values():
            counts = (
                service not in ELSEWHERE
                and "output" in operation
                and hands_out(shapes, operation["output"]["shape"], set())
            )
            if operation["name"] == "CreateSession" or not (counts or (service, operation["name"]) in ALSO):
                continue
            found.add((service, operation["name"]))
            request = request_of(metadata, operation)
            if not all(actions.refuses(kind.refused_actions, name, *request) for kind in kinds):
                wrong.append((service, name, operation["name"], operation["http"]["requestUri"]))
    assert wrong == []
    assert len(found) > 50
    assert found >= ALSO
