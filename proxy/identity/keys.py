"""The public keys of one issuer: fetched when they are old, kept for a time when they cannot be, never without end."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from proxy.egress.http import HttpFailedError, parse_https
from proxy.egress.upstream import route
from proxy.errors import BriefcaseError
from proxy.identity.jwt import keys_in

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.clock import Clock
    from proxy.egress.http import HttpClient
    from proxy.identity.jwt import Key, Presented
    from proxy.settings import UpstreamProxyEntry

_log: Final = logging.getLogger("proxy.identity")
MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_BEARER_BYTES: Final = 16 * 1024
RETRY_S: Final = 5.0
UNKNOWN_KEY_S: Final = 30.0
"""However many tokens name keys that nobody has, the issuer is asked this often at most."""
OK, NOT_MODIFIED = 200, 304


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document and its version; None for the document where the version is still the one that was asked about."""

    document: bytes | None
    version: str | None


class Fetch(Protocol):
    """Where keys come from."""

    async def __call__(self, version: str | None) -> Fetched:
        """The document as it is now. Raises `BriefcaseError`."""
        ...


class KeySource(Protocol):
    """What of an issuer's settings says where its keys are, and how long they count."""

    @property
    def issuer(self) -> str: ...  # noqa: D102
    @property
    def jwks_url(self) -> str | None: ...  # noqa: D102
    @property
    def ca_file(self) -> Path | None: ...  # noqa: D102
    @property
    def bearer_file(self) -> Path | None: ...  # noqa: D102
    @property
    def keys_max_age_s(self) -> int: ...  # noqa: D102
    @property
    def keys_stale_s(self) -> int: ...  # noqa: D102


class Keys:
    """`current()` is what tokens are verified with; `refresh()` keeps it current, one fetch at a time."""

    def __init__(self, fetch: Fetch, *, issuer: KeySource, clock: Clock) -> None:
        self._fetch: Final = fetch
        self._issuer: Final = issuer
        self._clock: Final = clock
        self._lock: Final = asyncio.Lock()
        self._keys: tuple[Key, ...] = ()
        self._version: str | None = None
        self._fetched_s = float("-inf")
        self._tried_s = float("-inf")

    def current(self) -> tuple[Key, ...] | None:
        """The keys; None while there are none that are young enough to be believed (P5)."""
        limit_s = self._issuer.keys_max_age_s + self._issuer.keys_stale_s
        return self._keys if self._age_s() <= limit_s else None

    def wanted_for(self, token: Presented) -> bool:
        """Whether a fetch could help with `token`."""
        return self._age_s() > self._issuer.keys_max_age_s or not any(key.fits(token) for key in self._keys)

    async def refresh(self, *, unknown_key: bool = False) -> None:
        """Fetch where the keys are old, or `unknown_key` was asked for; not more often than allowed. Raises nothing."""
        async with self._lock:  # who waited finds it done
            now_s = self._clock.monotonic_s()
            old = self._age_s() > self._issuer.keys_max_age_s
            if not (old or unknown_key) or now_s - self._tried_s < (RETRY_S if old else UNKNOWN_KEY_S):
                return
            self._tried_s = now_s
            try:
                self._take(await self._fetch(self._version))
            except BriefcaseError as error:
                _log.warning("keys of %s: %s", self._issuer.issuer, error)

    def _take(self, fetched: Fetched) -> None:
        if fetched.document is not None:
            keys = keys_in(fetched.document)
            if keys is None:
                raise BriefcaseError("the document is not a JWK set")
            self._keys, self._version = keys, fetched.version
        self._fetched_s = self._clock.monotonic_s()

    def _age_s(self) -> float:
        return self._clock.monotonic_s() - self._fetched_s


class FromUrl:
    """Over verified TLS, through the upstream proxy of all providers where there is one."""

    def __init__(self, issuer: KeySource, *, http: HttpClient, proxy: UpstreamProxyEntry | None) -> None:
        self._url: Final = parse_https(issuer.jwks_url or "")
        self._issuer: Final = issuer
        self._http: Final = http
        self._via: Final = route(proxy, self._url.authority)

    async def __call__(self, version: str | None) -> Fetched:
        """See `Fetch`; the version is the answer's ETag (RFC 9110, section 13.1.2)."""
        headers = {"accept": "application/jwk-set+json, application/json"}
        if version is not None:
            headers["if-none-match"] = version
        if self._issuer.bearer_file is not None:
            token = _read(self._issuer.bearer_file, MAX_BEARER_BYTES).strip()
            if not token.isascii() or not token.decode("ascii").isprintable():
                raise BriefcaseError(f"{self._issuer.bearer_file}: not a token")
            headers["authorization"] = f"Bearer {token.decode('ascii')}"
        answer = await self._http.get(
            self._url, headers=headers, max_bytes=MAX_DOCUMENT_BYTES, trust=self._issuer.ca_file, via=self._via
        )
        if answer.status == NOT_MODIFIED and version is not None:
            return Fetched(None, version)
        if answer.status != OK:
            raise HttpFailedError(f"{self._url.authority}: status {answer.status}")
        tag = answer.headers.get("etag", "")
        return Fetched(answer.body, tag if 0 < len(tag) <= 256 and tag.isascii() else None)  # noqa: PLR2004


class FromFile:
    """Read again when it is another one: Kubernetes replaces mounted files in one step."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path

    async def __call__(self, version: str | None) -> Fetched:
        """See `Fetch`; the version is the time of its change, its size and its inode."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise BriefcaseError(f"{self._path}: {error.strerror}") from None
        now = f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"
        return Fetched(None if now == version else _read(self._path, MAX_DOCUMENT_BYTES), now)


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise BriefcaseError(f"{path}: {error.strerror}") from None
    if len(content) > most:
        raise BriefcaseError(f"{path}: longer than {most} bytes")
    return content
