"""`pkcs11:…`: keys in a token (smart card, HSM, SoftHSM), which never leave it. One thread speaks to the module."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from proxy.keys.pkcs11_uri import KeyUri, parse
from proxy.keys.signer import KeyUnavailableError
from proxy.keys.verification import public_from, verified

if TYPE_CHECKING:
    from collections.abc import Callable

    import pkcs11

    from proxy.keys.public import PublicKey as PublicHalf
    from proxy.secretstore import SecretStores
    from proxy.settings import Pkcs11

TIMEOUT_S: Final = 10.0
SUPPORTED: Final = ("ES256", "RS256")


class Pkcs11Backend:
    """One module, as the settings name it; sessions stay open, and are opened again where they have ended."""

    def __init__(self, described: Pkcs11, *, stores: SecretStores) -> None:
        self._described: Final = described
        self._stores: Final = stores
        self._thread: Final = ThreadPoolExecutor(1, thread_name_prefix="pkcs11")
        self._sessions: Final[dict[tuple[str | None, str | None], pkcs11.Session]] = {}
        self._signers: Final[dict[str, Pkcs11Signer]] = {}

    @staticmethod
    def bad_place(place: str) -> str | None:
        """See `KeyBackend`."""
        try:
            parse(place)
        except ValueError as problem:
            return f"pkcs11: {problem}"
        return None

    async def signer(self, place: str, algorithm: str | None) -> Pkcs11Signer:
        """See `KeyBackend`."""
        del algorithm  # the key has one: ES256 or RS256
        found = self._signers.get(place)
        if found is None:
            uri = parse(place)
            public = await self.run(uri, lambda session: _public(session, uri))
            found = self._signers[place] = Pkcs11Signer(self, uri, public)
        return found

    async def run[T](self, uri: KeyUri, work: Callable[[pkcs11.Session], T]) -> T:
        """What `work` returns, in the module's thread. Raises `KeyUnavailableError`."""
        pin = None
        if self._described.pin is not None:
            pin = (await self._stores.get(self._described.pin, at_least=1)).reveal().decode()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, uri, pin, work)
        except TimeoutError:
            raise KeyUnavailableError("the PKCS #11 token did not answer in time") from None

    def _work[T](self, uri: KeyUri, pin: str | None, work: Callable[[pkcs11.Session], T]) -> T:
        try:
            from pkcs11.exceptions import PKCS11Error  # noqa: PLC0415  # an extra
        except ImportError:
            raise KeyUnavailableError("keys in a token need the extra `pkcs11`") from None
        try:
            if (uri.token, uri.serial) in self._sessions:
                try:
                    return work(self._session(uri, pin))
                except PKCS11Error:  # the token was taken out, or its session ended: once more with a new one
                    self._close(uri)
            return work(self._session(uri, pin))
        except (PKCS11Error, RuntimeError, OSError) as error:
            self._close(uri)
            raise KeyUnavailableError(f"the PKCS #11 token: {type(error).__name__}") from None

    def _session(self, uri: KeyUri, pin: str | None) -> pkcs11.Session:
        import pkcs11  # noqa: PLC0415  # an extra, and a native library

        place = (uri.token, uri.serial)
        if place not in self._sessions:
            if self._described.module is None:
                raise KeyUnavailableError("keys.pkcs11.module names no module")
            named = {"token_label": uri.token} if uri.token is not None else {}
            serial = {"token_serial": uri.serial.encode()} if uri.serial is not None else {}
            token = pkcs11.lib(str(self._described.module)).get_token(**named, **serial)
            try:
                self._sessions[place] = token.open(user_pin=pin)
            except pkcs11.exceptions.UserAlreadyLoggedIn:  # by another session: a login counts for all of them
                self._sessions[place] = token.open()
        return self._sessions[place]

    def _close(self, uri: KeyUri) -> None:
        from pkcs11.exceptions import PKCS11Error  # noqa: PLC0415

        session = self._sessions.pop((uri.token, uri.serial), None)
        if session is not None:
            with contextlib.suppress(PKCS11Error):  # it is of no use any more
                session.close()


class Pkcs11Signer:
    """One private key in a token."""

    def __init__(self, backend: Pkcs11Backend, uri: KeyUri, public: PublicHalf) -> None:
        self._backend: Final = backend
        self._uri: Final = uri
        self._public: Final = public

    @property
    def public(self) -> PublicHalf:
        """Its public half."""
        return self._public

    async def sign(self, message: bytes) -> bytes:
        """See `Signer`."""
        made = await self._backend.run(self._uri, lambda session: _sign(session, self._uri, self._public, message))
        return verified(self._public, message, made)


def _public(session: pkcs11.Session, uri: KeyUri) -> PublicHalf:
    from pkcs11 import KeyType, ObjectClass, PublicKey  # noqa: PLC0415
    from pkcs11.util.ec import encode_ec_public_key  # noqa: PLC0415
    from pkcs11.util.rsa import encode_rsa_public_key  # noqa: PLC0415

    found = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=uri.label, id=uri.id)
    if not isinstance(found, PublicKey):
        raise KeyUnavailableError("the token has no public half of the key")
    encode = encode_rsa_public_key if found.key_type is KeyType.RSA else encode_ec_public_key
    try:
        key = load_der_public_key(encode(found))
    except ValueError:
        raise KeyUnavailableError("the key in the token is not one that can be used") from None
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise KeyUnavailableError("the key in the token is neither P-256 nor RSA")
    public = public_from(key, None)
    if public.algorithm not in SUPPORTED:
        raise KeyUnavailableError("the key in the token is neither P-256 nor RSA")
    return public


def _sign(session: pkcs11.Session, uri: KeyUri, public: PublicHalf, message: bytes) -> bytes:
    from pkcs11 import Mechanism, ObjectClass, SignMixin  # noqa: PLC0415

    private = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=uri.label, id=uri.id)
    if not isinstance(private, SignMixin):
        raise KeyUnavailableError("the key in the token is not one that signs")
    if public.algorithm == "RS256":
        return bytes(private.sign(message, mechanism=Mechanism.SHA256_RSA_PKCS))
    # Not every token hashes for ECDSA; all sign a digest. R and S come side by side, as JOSE has them.
    return bytes(private.sign(hashlib.sha256(message).digest(), mechanism=Mechanism.ECDSA))
