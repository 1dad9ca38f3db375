"""The part of AWS STS that gives sessions, as a rude server: verifies who asks, and can fail in every way."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from tests.fakes.aws_verifier import Verifier
    from tests.rig.provider import Seen

SESSION = """\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
  <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/x/y</Arn><AssumedRoleId>AROA:y</AssumedRoleId></AssumedRoleUser>
  <Credentials><AccessKeyId>{key_id}</AccessKeyId><SecretAccessKey>{key}</SecretAccessKey>
  <SessionToken>{token}</SessionToken><Expiration>{ends}</Expiration></Credentials>
</AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>
"""
ERROR = (
    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
)


@dataclass
class Sts:
    """`asked` are the forms that came; `roles` maps a role to the external id it wants; `raw` is answered instead."""

    verifier: Verifier
    roles: dict[str, str | None]
    web_tokens: set[str] = field(default_factory=set)
    asked: list[dict[str, str]] = field(default_factory=list)
    lasts_s: int | None = None
    raw: bytes | None = None

    def answer(self, seen: Seen) -> bytes:
        """The whole answer."""
        if self.raw is not None:
            self.asked.append({})
            return self.raw
        form = dict(parse_qsl(seen.body.decode()))
        self.asked.append(form)
        problem = self._problem(form, seen)
        if problem is not None:
            return http(403, ERROR.format(code=problem, message="User: LEAKED-MESSAGE is not authorized"))
        key_id, key, token = f"ASIA{secrets.token_hex(8).upper()}", secrets.token_hex(20), secrets.token_hex(100)
        self.verifier.keys[key_id], self.verifier.tokens[key_id] = key, token
        lasts_s = int(form["DurationSeconds"]) if self.lasts_s is None else self.lasts_s
        ends = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=lasts_s)
        return http(200, SESSION.format(key_id=key_id, key=key, token=token, ends=ends.strftime("%Y-%m-%dT%H:%M:%SZ")))

    def _problem(self, form: dict[str, str], seen: Seen) -> str | None:
        if form["Version"] != "2011-06-15" or form["RoleArn"] not in self.roles:
            return "AccessDenied"
        if form["Action"] == "AssumeRoleWithWebIdentity":
            if seen.one("authorization") is not None:
                return "Signed"
            return None if form["WebIdentityToken"] in self.web_tokens else "InvalidIdentityToken"
        verdict = self.verifier.judge(seen)
        if verdict is not None:
            return "InvalidClientTokenId" if verdict == "InvalidAccessKeyId" else "SignatureDoesNotMatch"
        return None if form.get("ExternalId") == self.roles[form["RoleArn"]] else "AccessDenied"


def http(status: int, body: str, *headers: str) -> bytes:
    """An answer."""
    head = [f"HTTP/1.1 {status} X", "Content-Type: text/xml", f"Content-Length: {len(body.encode())}", *headers]
    return "\r\n".join([*head, "", body]).encode()
