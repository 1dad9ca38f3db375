"""`kind: totp`: a time-based one-time password (RFC 6238), alone or beside a password. See docs/credentials/totp.md."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, override

from pydantic import Field, model_validator

from proxy.canonical import set_query
from proxy.credentials.body_field import BodyFieldCredential
from proxy.credentials.header import with_headers
from proxy.credentials.kind import NOTHING_LEARNT, HeaderName, Kind, Lesson, Presented, SecretName, unusable
from proxy.errors import Refused
from proxy.secret import Secret

if TYPE_CHECKING:
    from proxy.credentials.kind import Credential, Moment, Proving
    from proxy.model import RequestHead, ResponseHead

CODE: Final = "code"
USED: Final = "one_time_password_used_in"
"""The fact that says in which period, counted from the epoch, a code was sent last."""


class TotpCredential(Kind):
    """Puts the code of the moment into a header, a query parameter or a field of the body."""

    kind: Literal["totp"]
    secret: SecretName = Field(description="The shared key in base32, as authenticator apps are given it.")
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha1"
    digits: Annotated[int, Field(ge=6, le=8)] = 6
    period_s: Annotated[int, Field(ge=15, le=300)] = 30
    once: bool = Field(
        default=False, description="The provider takes a code once: a second request waits for the next."
    )
    header: HeaderName | None = None
    query: str | None = None
    body: Literal["json", "form"] | None = None
    pointer: str = Field(default="", description="With `body`: JSON pointer, or the form field's name.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if [self.header, self.query, self.body].count(None) != 2:  # noqa: PLR2004  # of three
            raise ValueError("give one of header, query and body")
        if (self.body is None) != (not self.pointer):
            raise ValueError("a pointer goes with body")
        if self.body == "json" and not self.pointer.startswith("/"):
            raise ValueError("a JSON pointer starts with /")
        return self

    @override
    def secret_names(self) -> frozenset[str]:
        return frozenset({self.secret})

    @property
    def needs_body(self) -> bool:  # type: ignore[override]
        """Where a field of it is set."""
        return self.body is not None

    @override
    def prove(
        self, credential: Credential, head: RequestHead, body: bytes | None, moment: Moment
    ) -> Proving[Presented]:
        yield from ()
        period, spent_s = divmod(int(moment.now_s), self.period_s)
        if self.once and moment.learnt.get(USED) == str(period):
            detail = "The provider takes each one-time password once; the next one is not due yet."
            raise Refused(replace(unusable(detail), retry_after_s=self.period_s - spent_s))
        return self.at(credential, head, body, int(moment.now_s))

    @override
    def learn(self, credential: Credential, head: RequestHead, response: ResponseHead, moment: Moment) -> Lesson:
        """Whatever it answered, the provider has seen the code (RFC 6238, section 5.2: it takes none twice)."""
        return Lesson({USED: str(int(moment.now_s) // self.period_s)}) if self.once else NOTHING_LEARNT

    def at(self, credential: Credential, head: RequestHead, body: bytes | None, now_s: int) -> Presented:
        """As `present`, at `now_s`."""
        code = one_time_password(
            _key(credential.text(self.secret)),
            now_s,
            period_s=self.period_s,
            digits=self.digits,
            algorithm=self.algorithm,
        )
        if self.header is not None:
            return Presented(with_headers(head, {self.header: code}), body)
        if self.query is not None:
            return Presented(replace(head, query=set_query(head.query, self.query, code)), body)
        assert self.body is not None
        field = BodyFieldCredential(kind="body_field", format=self.body, pointer=self.pointer, secret=CODE)
        return field.present(replace(credential, secrets={CODE: Secret(CODE, code)}), head, body)


def one_time_password(key: bytes, now_s: int, *, period_s: int, digits: int, algorithm: str) -> str:
    """The code at `now_s`. Source: RFC 6238, section 4.2; RFC 4226, section 5.3."""
    made = hmac.digest(key, (now_s // period_s).to_bytes(8, "big"), algorithm)
    start = made[-1] & 0xF
    number = int.from_bytes(made[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**digits:0{digits}d}"


def _key(text: str) -> bytes:
    """From base32 (RFC 4648, section 6) as people copy it: any case, spaces and hyphens between, padded or not."""
    compact = text.replace(" ", "").replace("-", "").rstrip("=").upper()
    try:
        key = base64.b32decode(compact + "=" * (-len(compact) % 8))
    except binascii.Error:
        raise Refused(unusable("The secret is not base32.")) from None
    if not key:
        raise Refused(unusable("The secret is not base32."))
    return key
