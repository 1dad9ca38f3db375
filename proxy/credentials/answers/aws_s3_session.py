"""`kind: aws_s3_session`: the reply of a directory bucket to CreateSession. See docs/token-calls.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, override
from xml.sax.saxutils import escape

from pydantic import Field

from proxy.credentials.answers.aws_sts import utc
from proxy.credentials.answers.kind import NO_STORE, AnswerKind
from proxy.credentials.kind import SecretName  # noqa: TC001  # pydantic needs it at run time
from proxy.errors import Answer

if TYPE_CHECKING:
    from proxy.credentials.answers.kind import Asked

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"


class AwsS3SessionAnswer(AnswerKind):
    """Answers `GET /?session` with the account's stand-ins: the real session stays here."""

    kind: Literal["aws_s3_session"]
    access_key_id: SecretName = "access_key_id"
    secret_access_key: SecretName = "secret_access_key"  # noqa: S105  # a slot
    session_token: SecretName = "session_token"  # noqa: S105  # a slot
    lifetime_s: Annotated[int, Field(ge=60, le=3600)] = 300

    @override
    def slots(self) -> frozenset[str]:
        return frozenset({self.access_key_id, self.secret_access_key, self.session_token})

    @override
    def answer(self, asked: Asked) -> Answer | None:
        held = asked.holder.stand_ins
        if "session" not in asked.fields or not self.slots() <= held.keys():
            return None
        values = {
            "SessionToken": held[self.session_token],
            "SecretAccessKey": held[self.secret_access_key],
            "AccessKeyId": held[self.access_key_id],
            "Expiration": utc(asked.now_s + self.lifetime_s),
        }
        fields = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
        text = f'<CreateSessionResult xmlns="{NAMESPACE}"><Credentials>{fields}</Credentials></CreateSessionResult>'
        return Answer(200, ((b"content-type", b"application/xml"), NO_STORE), text.encode())
