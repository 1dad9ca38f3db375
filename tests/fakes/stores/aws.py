"""AWS's Secrets Manager and Parameter Store at one name: who asks must have signed, which is verified by other code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.fakes.aws_verifier import Verifier
from tests.fakes.stores.server import StoreServer
from tests.fakes.sts import Sts

if TYPE_CHECKING:
    from tests.rig.provider import Seen

KEY_ID, KEY = "AKIASTORESTORESTORES", "the-secret-access-key-of-the-sidecar"
ROLE, WEB_TOKEN = "arn:aws:iam::123456789012:role/reader", "eyJ0.the-web-identity-token-0123456789"


class FakeAws(StoreServer):
    def __init__(self, folder: Any, host: str = "secretsmanager.us-east-1.amazonaws.com") -> None:
        super().__init__(folder, host)
        self.verifier = Verifier({KEY_ID: KEY})
        self.sts = Sts(self.verifier, {ROLE: None}, web_tokens={WEB_TOKEN})
        self.last: dict[str, Any] = {}

    async def _handle(self, seen, reader, writer):
        if seen.one("x-amz-target") is None:
            writer.write(self.sts.answer(seen))
        else:
            await super()._handle(seen, reader, writer)

    def answer(self, seen: Seen) -> tuple[int, Any]:
        self.questions += 1
        if self.verifier.judge(seen) is not None:
            return 400, {"__type": "com.amazon.coral.service#UnrecognizedClientException", "message": "no"}
        self.last = json.loads(seen.body)
        match seen.one("x-amz-target"):
            case "secretsmanager.GetSecretValue":
                found = self.values.get(self.last["SecretId"])
                return (
                    (400, {"__type": "ResourceNotFoundException"}) if found is None else (200, {"SecretString": found})
                )
            case "AmazonSSM.GetParameter":
                found = self.values.get(self.last["Name"]) if self.last["WithDecryption"] else None
                return (
                    (400, {"__type": "ParameterNotFound"}) if found is None else (200, {"Parameter": {"Value": found}})
                )
        return 400, {"__type": "UnknownOperationException"}
