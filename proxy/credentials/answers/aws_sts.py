"""`kind: aws_sts`: the replies of AWS STS that carry credentials. See docs/token-calls.md."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Annotated, Final, Literal, override
from xml.sax.saxutils import escape

from pydantic import Field

from proxy.credentials.answers.kind import NO_STORE, AnswerKind
from proxy.credentials.kind import SecretName  # noqa: TC001  # pydantic needs it at run time
from proxy.errors import Answer

if TYPE_CHECKING:
    from proxy.credentials.answers.kind import Asked, Holder

NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
ROLE_ACTIONS: Final = frozenset({"AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"})
ACTIONS: Final = ROLE_ACTIONS | {"GetSessionToken"}
HARMLESS: Final = frozenset({"GetCallerIdentity", "GetAccessKeyInfo", "DecodeAuthorizationMessage"})
"""The actions whose replies hold no credentials. Source: AWS Security Token Service API Reference, Actions."""


class AwsStsAnswer(AnswerKind):
    """Answers AssumeRole and its like with the account's stand-ins; of all others, only harmless ones may leave."""

    kind: Literal["aws_sts"]
    access_key_id: SecretName = "access_key_id"
    secret_access_key: SecretName = "secret_access_key"  # noqa: S105  # a slot
    session_token: SecretName = "session_token"  # noqa: S105  # a slot
    role_variable: SecretName | None = Field(
        default=None, description="The account is the one whose variable of this name is the RoleArn asked for."
    )
    lifetime_s: Annotated[int, Field(ge=900, le=43_200)] = 3600

    @override
    def slots(self) -> frozenset[str]:
        return frozenset({self.access_key_id, self.secret_access_key, self.session_token})

    @override
    def variable_names(self) -> frozenset[str]:
        return frozenset({self.role_variable} if self.role_variable else ())

    @override
    def deciding(self) -> frozenset[str]:
        return frozenset({"action", "rolearn"})

    @override
    def may_leave(self, asked: Asked) -> bool:
        return asked.fields.get("Action") in HARMLESS

    @override
    def answer(self, asked: Asked) -> Answer | None:
        action = asked.fields.get("Action")
        if action not in ACTIONS:
            return None
        arn = asked.fields.get("RoleArn", "")
        holder: Holder | None = asked.holder
        if self.role_variable is not None and action in ROLE_ACTIONS:
            holder = next((one for one in asked.holders if one.variables.get(self.role_variable) == arn), None)
        if holder is None or not self.slots() <= holder.stand_ins.keys():
            return _failure(asked)
        body = f"<Credentials>{self._credentials(asked, holder)}</Credentials>"
        if action in ROLE_ACTIONS:
            body += _assumed(arn, asked.fields.get("RoleSessionName", "briefcased"))
        return _xml(
            200,
            f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>{body}</{action}Result>'
            f"<ResponseMetadata><RequestId>{_request_id(asked)}</RequestId></ResponseMetadata></{action}Response>",
        )

    def _credentials(self, asked: Asked, holder: Holder) -> str:
        values = {
            "AccessKeyId": holder.stand_ins[self.access_key_id],
            "SecretAccessKey": holder.stand_ins[self.secret_access_key],
            "SessionToken": holder.stand_ins[self.session_token],
            "Expiration": utc(asked.now_s + self.lifetime_s),
        }
        return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())


def utc(at_s: int) -> str:
    """Seconds since the epoch as AWS and RFC 3339 write them: `2026-11-25T12:00:00Z`."""
    return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _assumed(arn: str, session: str) -> str:
    """The role's session, as an ARN (`arn:aws:sts::123456789012:assumed-role/name/session`)."""
    account, name = arn.rpartition("/")[0].split(":")[4:5], arn.rpartition("/")[2]
    assumed = f"arn:aws:sts::{account[0] if account else ''}:assumed-role/{name}/{session}"
    return (
        f"<AssumedRoleUser><Arn>{escape(assumed)}</Arn>"
        f"<AssumedRoleId>{escape(f'AROABRIEFCASED:{session}')}</AssumedRoleId></AssumedRoleUser>"
    )


def _failure(asked: Asked) -> Answer:
    message = "This agent has no account for this role."
    return _xml(
        403,
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>AccessDenied</Code>'
        f"<Message>{message}</Message></Error><RequestId>{_request_id(asked)}</RequestId></ErrorResponse>",
    )


def _request_id(asked: Asked) -> str:
    """Some id in the form of AWS's; it is ours, so no request of theirs has it."""
    digest = hashlib.sha256(f"{asked.holder.account}:{asked.now_s}".encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def _xml(status: int, text: str) -> Answer:
    return Answer(status, ((b"content-type", b"text/xml"), NO_STORE), text.encode())
