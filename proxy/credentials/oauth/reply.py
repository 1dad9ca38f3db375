"""What a token endpoint answers, read strictly: hostile until then, and none of its text is ever repeated. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import orjson

from proxy.credentials.kind import MintFailedError, unusable
from proxy.errors import Denial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from proxy.credentials.kind import Reply

MAX_TOKEN_CHARACTERS: Final = 16 * 1024
"""Of one token: few servers take longer headers. All that one answer gives may be twice as long."""
MAX_ALL_CHARACTERS: Final = 2 * MAX_TOKEN_CHARACTERS
MAX_LIFETIME_S: Final = 10 * 365 * 24 * 3600
MAX_DIGITS: Final = 12
MAX_WAIT_S: Final = 3600
MAX_OTHERS: Final = 16
MIN_SEARCHED: Final = 8
"""Shorter values would be found everywhere, and take the agent's answers apart, those of other providers too."""
TOKEN: Final = re.compile(r"[\x21-\x7e]+")
"""Visible characters, without blanks (RFC 6749, appendix A.12, less the blank, which no header can carry)."""
ERROR_CODE: Final = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,64}")
OK: Final = 200
TOO_MANY: Final = 429
UNAVAILABLE: Final = 503
FAULT: Final = 500


@dataclass(frozen=True, slots=True)
class TokenReply:
    """A good answer (RFC 6749, section 5.1).

    Attributes:
        token_type: lower-case; empty where there is none.
        expires_in_s: None is unknown, never endless.
        scope: what was granted; None where the answer does not say, which means what was asked for.
        details: granted `authorization_details` (RFC 9396, section 7), or None.
        subject_type: `issued_token_type` (RFC 8693, section 2.2.1).
        others: any further member that is a token by its name, to be searched for in answers. The names are left out:
            the server could name as many as it likes, or one of the account's own secrets.
    """

    access_token: str = field(repr=False)
    token_type: str
    expires_in_s: int | None
    refresh_token: str | None = field(repr=False)
    scope: str | None
    details: tuple[JsonValue, ...] | None
    issued_token_type: str | None
    others: tuple[str, ...] = field(repr=False)


class TokenRefusedError(MintFailedError):
    """The server answered with an error code that is well-formed: `code`. It is for comparing, never for showing."""

    def __init__(
        self, denial: Denial, code: str, *, retry_after_s: int | None = None, nothing_done: bool = False
    ) -> None:
        super().__init__(denial, retry_after_s=retry_after_s, nothing_done=nothing_done)
        self.code = code


def read_reply(reply: Reply, now_s: int) -> TokenReply:
    """The tokens.

    Raises:
        TokenRefusedError: an error answer with a code, with whatever status (some send 200).
        MintFailedError: `token_endpoint_error`; busy, garbage, or something that must not be used.
    """
    if reply.status in (TOO_MANY, UNAVAILABLE):
        raise failed("The token endpoint is busy.", retry_after_s=retry_after_s(reply, now_s), nothing_done=True)
    document = json_object(reply)
    code = error_code(document)
    if code is not None:
        denial, wait_s = failed("The token endpoint refused.").denial, retry_after_s(reply, now_s)
        raise TokenRefusedError(denial, code, retry_after_s=wait_s, nothing_done=reply.status < FAULT)
    if reply.status != OK:
        raise failed("The token endpoint answered with an error.", retry_after_s=retry_after_s(reply, now_s))
    access_token, others = _token(document, "access_token"), _others(document)
    refresh_token = _token(document, "refresh_token") if document.get("refresh_token") is not None else None
    if len(others) > MAX_OTHERS or sum(map(len, (access_token, refresh_token or "", *others))) > MAX_ALL_CHARACTERS:
        raise failed("The token endpoint answered with more tokens than are searched for.")
    return TokenReply(
        access_token=access_token,
        token_type=_text(document, "token_type", 64).lower(),
        expires_in_s=_lifetime_s(document.get("expires_in")),
        refresh_token=refresh_token,
        scope=_scope(document),
        details=_details(document.get("authorization_details")),
        issued_token_type=_text(document, "issued_token_type", 256) or None,
        others=others,
    )


def error_code(document: Mapping[str, JsonValue]) -> str | None:
    """`error`, where it has the form of a code (RFC 6749, section 5.2)."""
    code = document.get("error")
    return code if isinstance(code, str) and ERROR_CODE.fullmatch(code) else None


def retry_after_s(reply: Reply, now_s: int) -> int | None:
    """Seconds from now, or None (RFC 9110, section 10.2.3)."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(int(value[:MAX_DIGITS]), MAX_WAIT_S)
    try:
        return min(max(int(parsedate_to_datetime(value).timestamp()) - now_s, 0), MAX_WAIT_S)
    except (ValueError, OverflowError):
        return None


def failed(detail: str, *, retry_after_s: int | None = None, nothing_done: bool = False) -> MintFailedError:
    """The token endpoint gave nothing that can be used. `detail` is ours."""
    denial = Denial("token_endpoint_error", detail, by="credentials")
    return MintFailedError(denial, retry_after_s=retry_after_s, nothing_done=nothing_done)


def refused(detail: str) -> MintFailedError:
    """What was given must not be used here. `detail` is ours."""
    return MintFailedError(unusable(detail))


def json_object(reply: Reply) -> Mapping[str, JsonValue]:
    """The body. Raises `MintFailedError` where it is something else."""
    try:
        document = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise failed("The token endpoint did not answer with a JSON object.")
    return document


def _token(document: Mapping[str, JsonValue], name: str) -> str:
    value = document.get(name)
    fits = isinstance(value, str) and MIN_SEARCHED <= len(value) <= MAX_TOKEN_CHARACTERS
    if not isinstance(value, str) or not fits or not TOKEN.fullmatch(value):
        raise failed("The token endpoint answered without a token that can be used.")
    return value


def _text(document: Mapping[str, JsonValue], name: str, most: int) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most:
        raise failed("The token endpoint answered with a member of a wrong type.")
    return value


def _lifetime_s(value: JsonValue) -> int | None:
    """Seconds; some send them as text, which is well meant and clear."""
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise failed("The token endpoint answered with a lifetime that is none.")
    return min(value, MAX_LIFETIME_S)


def _scope(document: Mapping[str, JsonValue]) -> str | None:
    value = document.get("scope")
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = " ".join(str(item) for item in value)
    if value is not None and (not isinstance(value, str) or len(value) > MAX_TOKEN_CHARACTERS):
        raise failed("The token endpoint answered with a member of a wrong type.")
    return value


def _details(value: JsonValue) -> tuple[JsonValue, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise failed("The token endpoint answered with a member of a wrong type.")
    return tuple(value)


def _others(document: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """Whatever else may be a credential: an ID token, a device secret, a vendor's second token."""
    return tuple(
        value
        for name, value in document.items()
        if isinstance(value, str)
        and name not in ("access_token", "refresh_token", "token_type", "issued_token_type")
        and re.search(r"token|secret|assertion|ticket", name)
        and len(value) >= MIN_SEARCHED
    )
