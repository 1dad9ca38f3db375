"""Asks a store's HTTP API: verified TLS, bounded answers, failures told apart by their status and never quoted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, cast
from urllib.parse import urlencode

import orjson

from proxy.canonical import parse_authority
from proxy.egress.dial import NAMED_BY_THE_OPERATOR
from proxy.egress.http import HttpFailedError, Url, parse_https
from proxy.egress.upstream import route
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from proxy.egress.http import Answer, HttpClient
    from proxy.secret import Secret
    from proxy.secretstore.store import Means
    from proxy.settings import Settings, UpstreamProxyEntry
    from proxy.store_settings import Asked

MAX_ANSWER_BYTES: Final = 256 * 1024
FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
HTTP_PORT: Final = 80
OK: Final = frozenset({200})
FAULTS: Final = 500
MAX_RETRY_AFTER_S: Final = 3600
type Json = Mapping[str, object]


class DeniedError(SecretUnavailableError):
    """The store answered 401 or 403: the login is not, or no longer, good for this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Asks the API of one store at one address.

    Attributes:
        scheme: of the store, for error texts.
        address: `https://host[:port][/path]`, to which targets are appended.
        ca_file: PEM bundle of roots; None for the public ones.
        named: the operator named the address, so that it may be private or loopback; never a metadata service.
        proxy: the operator's proxy for everything outside, where there is one.
    """

    scheme: str
    address: str
    http: HttpClient
    ca_file: Path | None = None
    named: bool = True
    proxy: UpstreamProxyEntry | None = None

    @classmethod
    def made(
        cls, scheme: str, address: str, own: Asked, settings: Settings, means: Means, *, named: bool = True
    ) -> Self:
        """For a store whose own settings are `own`, with the ways out of the whole configuration."""
        proxy = settings.egress.upstream_proxy
        return cls(scheme=scheme, address=address, http=means.http, ca_file=own.ca_file, named=named, proxy=proxy)

    async def json(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        accepted: frozenset[int] = OK,
    ) -> Json:
        """The JSON object of the answer; empty where it has no content.

        Args:
            method: as it is sent.
            target: path and query below the address, encoded, beginning with a slash.
            headers: besides `Accept`.
            body: whole.
            accepted: statuses that are no failure.

        Raises:
            DeniedError: 401 or 403.
            SecretUnavailableError: any other status, no answer, or an answer that is not a JSON object.
        """
        answer = await self.answer(method, target, headers=headers or {}, body=body)
        if answer.status not in accepted:
            raise failed(self.scheme, answer)
        return json_object(self.scheme, answer.body)

    async def json_list(self, method: str, target: str, *, headers: Mapping[str, str]) -> list[object]:
        """As `json`, for an answer that is a list."""
        answer = await self.answer(method, target, headers=headers)
        if answer.status not in OK:
            raise failed(self.scheme, answer)
        found = _loaded(answer.body)
        if not isinstance(found, list):
            raise SecretUnavailableError(self.scheme, "the answer is not a JSON list", passing=True)
        return found

    async def answer(self, method: str, target: str, *, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """The answer, whatever its status. Raises `SecretUnavailableError` where there is none."""
        url = self.url(target)
        try:
            return await self.http.request(
                method,
                url,
                headers={"accept": "application/json", **headers},
                body=body,
                max_bytes=MAX_ANSWER_BYTES,
                trust=self.ca_file,
                via=route(self.proxy, url.authority),
                allow_private=NAMED_BY_THE_OPERATOR if self.named else (),
            )
        except HttpFailedError as error:
            raise SecretUnavailableError(self.scheme, str(error), passing=True) from None

    def url(self, target: str) -> Url:
        """Where `target` is. Raises `SecretUnavailableError`."""
        try:
            return parse_https(self.address.rstrip("/") + target)
        except ValueError:
            raise SecretUnavailableError(self.scheme, "its address is not https://HOST[:PORT]") from None


def failed(scheme: str, answer: Answer) -> SecretUnavailableError:
    """What a status that is a failure means."""
    match answer.status:
        case 401 | 403:
            return DeniedError(scheme, f"not allowed (status {answer.status})")
        case 404:
            return SecretUnavailableError(scheme, "there is no such secret (status 404)")
        case 429:
            wait_s = retry_after_s(answer.headers.get("retry-after"))
            return SecretUnavailableError(scheme, "asked too often (status 429)", passing=True, retry_after_s=wait_s)
        case status if status >= FAULTS:
            wait_s = retry_after_s(answer.headers.get("retry-after"))
            return SecretUnavailableError(scheme, f"status {status}", passing=True, retry_after_s=wait_s)
        case status:
            return SecretUnavailableError(scheme, f"status {status}")


def retry_after_s(value: str | None) -> float | None:
    """Seconds of a Retry-After header; a date, garbage or nothing is None. Source: RFC 9110, section 10.2.3."""
    if value is None or not (value.isascii() and value.isdigit()):
        return None
    return float(min(int(value[:9]), MAX_RETRY_AFTER_S))


def json_object(scheme: str, body: bytes) -> Json:
    """`body` as a JSON object; an empty one where there is nothing. Raises `SecretUnavailableError`."""
    if not body:
        return {}
    found = _loaded(body)
    if not isinstance(found, dict):
        raise SecretUnavailableError(scheme, "the answer is not a JSON object", passing=True)
    return cast("Json", found)


def _loaded(body: bytes) -> object:
    try:
        return cast("object", orjson.loads(body))
    except orjson.JSONDecodeError:
        return None


def below(answer: object, *names: str) -> object:
    """What stands under `names`, one inside the other; None where there is nothing."""
    for name in names:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return answer


def text_below(scheme: str, answer: object, *names: str) -> str:
    """The text under `names`. Raises `SecretUnavailableError` where there is none; the answer is not quoted."""
    found = below(answer, *names)
    if not isinstance(found, str) or not found:
        raise SecretUnavailableError(scheme, f"the answer has no text {'.'.join(names)}")
    return found


def seconds_below(answer: object, *names: str) -> float | None:
    """The sane, positive number of seconds under `names`, also where it is written as text; None for anything else."""
    found = below(answer, *names)
    if isinstance(found, str) and found.isascii() and found.isdigit():
        found = int(found[:12])
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 2**40:
        return None
    return float(found)


def form(**fields: str) -> bytes:
    """A form's body, `FORM` its headers."""
    return urlencode(fields).encode("ascii")


async def metadata(asker: Asker, place: str, target: str, headers: Mapping[str, str]) -> Answer:
    """The good answer of the machine's metadata service at `place`, an address and perhaps a port.

    Raises:
        SecretUnavailableError: there is none, or it is no good one.
    """
    authority = parse_authority(place.encode("ascii", "replace"), HTTP_PORT)
    if authority is None:
        raise SecretUnavailableError(asker.scheme, "the place of the metadata service is not an address")
    try:
        answer = await asker.http.metadata(authority, target, headers=headers, max_bytes=MAX_ANSWER_BYTES)
    except HttpFailedError as error:
        raise SecretUnavailableError(asker.scheme, str(error), passing=True) from None
    if answer.status not in OK:
        raise failed(asker.scheme, answer)
    return answer


def text_of(secret: Secret, scheme: str) -> str:
    """`secret` as text: for a body, an assertion, a variable of a command. Raises `SecretUnavailableError`."""
    try:
        value = secret.reveal().decode("utf-8")
    except UnicodeDecodeError:
        value = ""
    if not value or "\0" in value:
        raise SecretUnavailableError(scheme, "what it logs in with is not text")
    return value


def bearer(secret: Secret, scheme: str, *, prefix: str = "Bearer ") -> str:
    """`secret` as the value of a header. Raises `SecretUnavailableError`: it has characters that cannot be sent."""
    value = secret.reveal().decode("latin-1")
    if not value.isascii() or not value.isprintable() or " " in value or not value:
        raise SecretUnavailableError(scheme, "what it logs in with cannot be sent in a header")
    return prefix + value
