"""`signer:https://HOST/BASE#KEY`: a signer over HTTPS that keeps its keys. The protocol: docs/keys.md."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import orjson

from proxy.egress.dial import NAMED_BY_THE_OPERATOR
from proxy.egress.http import HttpFailedError, parse_https
from proxy.keys import software
from proxy.keys.public import from_base64url
from proxy.keys.signer import KeyUnavailableError
from proxy.keys.tls import TlsIdentity
from proxy.keys.verification import public_from_jwk, verified

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.clock import Clock
    from proxy.egress.http import HttpClient
    from proxy.keys.public import PublicKey
    from proxy.secretstore import SecretStores
    from proxy.settings import RemoteSigner as Described

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
MAX_REPLY_BYTES: Final = 32 * 1024
PUBLIC_TTL_S: Final = 300.0


class RemoteBackend:
    """Asks the signers that the settings describe, and no others."""

    def __init__(
        self, described: tuple[Described, ...], *, stores: SecretStores, http: HttpClient, clock: Clock
    ) -> None:
        self._described: Final[Mapping[str, Described]] = {signer.url.rstrip("/"): signer for signer in described}
        self._stores: Final = stores
        self._http: Final = http
        self._clock: Final = clock
        self._known: Final[dict[tuple[str, str | None], tuple[float, RemoteSigner]]] = {}

    @staticmethod
    def bad_place(place: str) -> str | None:
        """See `KeyBackend`."""
        base, _, name = place.partition("#")
        try:
            parse_https(base)
        except ValueError:
            return "signer: takes https://HOST/BASE#KEY"
        return None if NAME.fullmatch(name) else "signer: takes https://HOST/BASE#KEY"

    async def signer(self, place: str, algorithm: str | None) -> RemoteSigner:
        """See `KeyBackend`. The public half is asked for again every five minutes."""
        now_s = self._clock.monotonic_s()
        known = self._known.get((place, algorithm))
        if known is not None and known[0] > now_s:
            return known[1]
        base, _, name = place.partition("#")
        document = await self.call("GET", base, f"/keys/{quote(name, safe='')}")
        public = public_from_jwk(document, algorithm)
        if known is not None and known[1].public == public:
            self._known[(place, algorithm)] = (now_s + PUBLIC_TTL_S, known[1])
            return known[1]
        found = RemoteSigner(self, base, name, public, (place, algorithm))
        self._known[(place, algorithm)] = (now_s + PUBLIC_TTL_S, found)
        return found

    def forget(self, key: tuple[str, str | None]) -> None:
        """Its public half is no longer what we took it for."""
        self._known.pop(key, None)

    async def call(self, method: str, base: str, path: str, sent: Mapping[str, str] | None = None) -> dict[str, object]:
        """The JSON object that the signer answers. Raises `KeyUnavailableError`."""
        described = self._described.get(base.rstrip("/"))
        if described is None:
            raise KeyUnavailableError("no signer of this address is described under keys.signers")
        headers = {"accept": "application/json"}
        if described.token is not None:
            headers["authorization"] = "Bearer " + (await self._stores.get(described.token)).reveal().decode("latin-1")
        if sent is not None:
            headers["content-type"] = "application/json"
        identity = None
        if described.certificate is not None:
            identity = TlsIdentity(software.load(await self._stores.get(described.certificate)))
        try:
            answer = await self._http.request(
                method,
                parse_https(base.rstrip("/") + path),
                headers=headers,
                body=b"" if sent is None else orjson.dumps(sent),
                max_bytes=MAX_REPLY_BYTES,
                trust=described.ca_bundle,
                allow_private=NAMED_BY_THE_OPERATOR,
                identity=identity,
            )
        except HttpFailedError as failed:
            raise KeyUnavailableError(f"the remote signer: {failed}") from None
        if answer.status != 200:  # noqa: PLR2004
            raise KeyUnavailableError(f"the remote signer answered with status {answer.status}")
        try:
            document = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise KeyUnavailableError("the remote signer did not answer with a JSON object")
        return document


class RemoteSigner:
    """One key of a remote signer."""

    def __init__(
        self, backend: RemoteBackend, base: str, name: str, public: PublicKey, place: tuple[str, str | None]
    ) -> None:
        self._backend: Final = backend
        self._base: Final = base
        self._name: Final = name
        self._public: Final = public
        self._place: Final = place

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return self._public

    async def sign(self, message: bytes) -> bytes:
        """See `Signer`. The signature is verified: a signer that changed its key is asked for it anew the next time."""
        sent = {
            "key": self._name,
            "algorithm": self._public.algorithm.replace("EdDSA", "Ed25519"),
            "message": base64.b64encode(message).decode("ascii"),
        }
        document = await self._backend.call("POST", self._base, "/sign", sent)
        try:
            made = from_base64url(str(document.get("signature", "")))
        except ValueError:
            made = b""
        try:
            return verified(self._public, message, made)
        except KeyUnavailableError:
            self._backend.forget(self._place)
            raise
