"""`local:name`: an encrypted store in one file of the state directory. See docs/stores/local.md.

Envelope: every value is sealed with its own AES-256-GCM key, that key with the store's key; the value's name is
authenticated with it, so that two values cannot be exchanged. The store's key comes from a key file, a passphrase
(scrypt, RFC 7914) or the operating system's keyring.
"""

from __future__ import annotations

import base64
import fcntl
import os
import re
import secrets as random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from proxy.errors import BriefcaseError
from proxy.secret import Secret
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE: Final = "secrets.json"
KEY_FILE: Final = "secrets.key"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._/-]{0,127}")
SCRYPT_N: Final = 2**15
_KEYRING: Final = ("credential-briefcase", "secret store key")
_CHECK: Final = b"credential-briefcase local store"


class LocalStoreError(BriefcaseError):
    """The store cannot be opened or changed."""


class LocalStore:
    """The store in `home`. `passphrase` is needed where it was made with one."""

    def __init__(self, home: Path, passphrase: Secret | None = None) -> None:
        self._home: Final = home
        self._path: Final = home / FILE
        self._passphrase: Final = passphrase
        self._known: tuple[tuple[int, int], dict[str, Secret]] | None = None

    @staticmethod
    def bad_place(place: str) -> str | None:
        """Names are lower-case letters, digits and `._/-`."""
        return None if NAME.fullmatch(place) else "local: takes a name such as github/token"

    async def get(self, place: str) -> Secret:
        """The value stored under the name; a store that was changed is read again."""
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_ino)
            if self._known is None or self._known[0] != version:
                self._known = (version, self._open_all())
        except OSError:
            raise SecretUnavailableError("local", "the store does not exist; run `briefcased secrets set`") from None
        except LocalStoreError as error:
            raise SecretUnavailableError("local", str(error)) from None
        secret = self._known[1].get(place)
        if secret is None:
            raise SecretUnavailableError("local", f"no secret is named {place}")
        return secret

    def names(self) -> tuple[str, ...]:
        """The names in the store, sorted; empty when there is none yet."""
        return tuple(sorted(self._read()["values"])) if self._path.exists() else ()

    def put(self, values: dict[str, bytes], *, key_source: str = "file") -> None:
        """Store `values`, each under its name; the store is made when there is none.

        Args:
            values: by name.
            key_source: `file`, `passphrase` or `keyring`; only where the store is made.

        Raises:
            LocalStoreError: a bad name, or the key cannot be had.
        """
        for name in values:
            if not NAME.fullmatch(name):
                raise LocalStoreError("a name is lower-case letters, digits and ._/-")
        with self._locked():
            document = self._read() if self._path.exists() else self._create(key_source)
            key = self._key(document)
            for name, value in values.items():
                document["values"][name] = _seal(key, name, value)
            self._write(document)

    def remove(self, name: str) -> bool:
        """Remove `name`; False when there was none."""
        if not self._path.exists():
            return False
        with self._locked():
            document = self._read()
            found = document["values"].pop(name, None) is not None
            if found:
                self._write(document)
        return found

    def _open_all(self) -> dict[str, Secret]:
        document = self._read()
        key = self._key(document)
        return {n: Secret(f"local:{n}", _unseal(key, n, sealed)) for n, sealed in document["values"].items()}

    def _create(self, key_source: str) -> dict[str, Any]:
        document: dict[str, Any] = {"version": 1, "key": {"source": key_source}, "values": {}}
        if key_source == "passphrase":
            document["key"]["salt"] = _text(random.token_bytes(16))
            document["key"]["n"] = SCRYPT_N
        elif key_source == "keyring":
            import keyring  # noqa: PLC0415  # loads desktop backends: only where it is asked for

            keyring.set_password(*_KEYRING, _text(random.token_bytes(KEY_BYTES)))
        elif key_source == "file":
            path = self._home / KEY_FILE
            if not path.exists():
                _write_private(path, _text(random.token_bytes(KEY_BYTES)).encode())
        else:
            raise LocalStoreError("the key's source is file, passphrase or keyring")
        document["check"] = _seal(self._derive(document), "check", _CHECK)
        return document

    def _key(self, document: dict[str, Any]) -> bytes:
        key = self._derive(document)
        if _unseal(key, "check", document.get("check", {})) != _CHECK:
            raise LocalStoreError("the store's key does not fit")
        return key

    def _derive(self, document: dict[str, Any]) -> bytes:
        try:
            key = self._derived(document["key"])
        except (KeyError, TypeError, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise LocalStoreError("the store's key cannot be read")
        return key

    def _derived(self, described: dict[str, Any]) -> bytes:
        match described["source"]:
            case "passphrase":
                if self._passphrase is None:
                    raise LocalStoreError("the store needs its passphrase")
                kdf = Scrypt(_raw(described["salt"]), KEY_BYTES, n=described["n"], r=8, p=1)
                return kdf.derive(self._passphrase.reveal())
            case "keyring":
                import keyring  # noqa: PLC0415

                found = keyring.get_password(*_KEYRING)
                if found is None:
                    raise LocalStoreError("the keyring holds no key for the store")
                return _raw(found)
            case _:
                return self._key_file()

    def _key_file(self) -> bytes:
        path = self._home / KEY_FILE
        try:
            if path.stat().st_mode & 0o077:
                raise LocalStoreError(f"{path} must be readable by its owner alone (mode 0600)")
            return _raw(path.read_text("ascii"))
        except OSError as error:
            raise LocalStoreError(f"{path}: {error.strerror}") from None

    def _read(self) -> dict[str, Any]:
        try:
            document: dict[str, Any] = orjson.loads(self._path.read_bytes())
            complete = document["version"] == 1 and isinstance(document["values"], dict)
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
            complete = False
        if not complete:
            raise LocalStoreError(f"{self._path} is not a secret store")
        return document

    def _write(self, document: dict[str, Any]) -> None:
        _write_private(self._path, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._home / "secrets.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _seal(key: bytes, name: str, value: bytes) -> dict[str, str]:
    data_key, nonce, key_nonce = (
        AESGCM.generate_key(256),
        random.token_bytes(NONCE_BYTES),
        random.token_bytes(NONCE_BYTES),
    )
    return {
        "key": _text(key_nonce + AESGCM(key).encrypt(key_nonce, data_key, name.encode())),
        "value": _text(nonce + AESGCM(data_key).encrypt(nonce, value, name.encode())),
    }


def _unseal(key: bytes, name: str, sealed: dict[str, str]) -> bytes:
    try:
        wrapped, value = _raw(sealed["key"]), _raw(sealed["value"])
        data_key = AESGCM(key).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], name.encode())
        return AESGCM(data_key).decrypt(value[:NONCE_BYTES], value[NONCE_BYTES:], name.encode())
    except (InvalidTag, KeyError, TypeError, ValueError):
        raise LocalStoreError("the store's key does not fit, or the store was changed") from None


def _write_private(path: Path, content: bytes) -> None:
    """Replace `path` in one step, durable, readable by its owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{random.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _raw(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
