"""`pkcs11:…`: keys in a token (smart card, HSM, SoftHSM), which never leave it. One thread speaks to the module."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from proxy.keys.pkcs11_signing import public_half, signature
from proxy.keys.pkcs11_uri import KeyUri, parse
from proxy.keys.signer import KeyUnavailableError
from proxy.keys.verification import verified

if TYPE_CHECKING:
    from collections.abc import Callable

    import pkcs11

    from proxy.keys.public import PublicKey as PublicHalf
    from proxy.secret import Secret
    from proxy.secretstore import SecretStores
    from proxy.settings import Pkcs11

TIMEOUT_S: Final = 10.0
type Place = tuple[str, str | None]


class Pkcs11Backend:
    """One module, as the settings name it; sessions stay open, and are opened again where they have ended."""

    def __init__(self, described: Pkcs11, *, stores: SecretStores) -> None:
        self._described: Final = described
        self._stores: Final = stores
        self._thread: Final = ThreadPoolExecutor(1, thread_name_prefix="pkcs11")
        self._sessions: Final[dict[tuple[str | None, str | None], pkcs11.Session]] = {}
        self._signers: Final[dict[Place, Pkcs11Signer]] = {}
        self._wrong_pins: Final[dict[bytes, Secret]] = {}

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
        found = self._signers.get((place, algorithm))
        if found is None:
            uri = parse(place)
            public = await self.run(uri, lambda session: public_half(session, uri, algorithm))
            found = self._signers[(place, algorithm)] = Pkcs11Signer(self, uri, public, (place, algorithm))
        return found

    def forget(self, place: Place) -> None:
        """Its public half is no longer what we took it for."""
        self._signers.pop(place, None)

    async def run[T](self, uri: KeyUri, work: Callable[[pkcs11.Session], T]) -> T:
        """What `work` returns, in the module's thread. Raises `KeyUnavailableError`."""
        pin = None
        if self._described.pin is not None:
            pin = await self._stores.get(self._described.pin, at_least=1)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, uri, pin, work)
        except TimeoutError:
            raise KeyUnavailableError("the PKCS #11 token did not answer in time") from None

    def _work[T](self, uri: KeyUri, pin: Secret | None, work: Callable[[pkcs11.Session], T]) -> T:
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

    def _session(self, uri: KeyUri, pin: Secret | None) -> pkcs11.Session:
        import pkcs11  # noqa: PLC0415  # an extra, and a native library

        place = (uri.token, uri.serial)
        if place not in self._sessions:
            if self._described.module is None:
                raise KeyUnavailableError("keys.pkcs11.module names no module")
            named = {"token_label": uri.token} if uri.token is not None else {}
            serial = {"token_serial": uri.serial.encode()} if uri.serial is not None else {}
            token = pkcs11.lib(str(self._described.module)).get_token(**named, **serial)
            self._sessions[place] = self._opened(token, pin)
        return self._sessions[place]

    def _opened(self, token: pkcs11.Token, pin: Secret | None) -> pkcs11.Session:
        """A PIN that was refused is not tried again: tokens lock themselves after a few (PKCS #11, CKR_PIN_LOCKED)."""
        from pkcs11 import exceptions  # noqa: PLC0415

        if pin is not None and self._wrong_pins.get(token.serial) == pin:
            raise KeyUnavailableError("the token has refused this PIN; it is not tried again until it is another")
        try:
            return token.open(user_pin=None if pin is None else pin.reveal().decode())
        except UnicodeDecodeError:  # it holds the PIN itself
            raise KeyUnavailableError("the PIN of the token is not UTF-8") from None
        except exceptions.UserAlreadyLoggedIn:  # by another session: a login counts for all of them
            return token.open()
        except (exceptions.PinIncorrect, exceptions.PinInvalid, exceptions.PinLenRange, exceptions.PinLocked):
            if pin is not None:
                self._wrong_pins[token.serial] = pin
            raise

    def _close(self, uri: KeyUri) -> None:
        from pkcs11.exceptions import PKCS11Error  # noqa: PLC0415

        session = self._sessions.pop((uri.token, uri.serial), None)
        if session is not None:
            with contextlib.suppress(PKCS11Error):  # it is of no use any more
                session.close()


class Pkcs11Signer:
    """One private key in a token."""

    def __init__(self, backend: Pkcs11Backend, uri: KeyUri, public: PublicHalf, place: Place) -> None:
        self._backend: Final = backend
        self._uri: Final = uri
        self._public: Final = public
        self._place: Final = place

    @property
    def public(self) -> PublicHalf:
        """Its public half."""
        return self._public

    async def sign(self, message: bytes) -> bytes:
        """See `Signer`. The signature is verified: a key that was replaced is looked at anew the next time."""
        uri, algorithm = self._uri, self._public.algorithm
        made = await self._backend.run(uri, lambda session: signature(session, uri, algorithm, message))
        try:
            return verified(self._public, message, made)
        except KeyUnavailableError:
            self._backend.forget(self._place)
            raise
