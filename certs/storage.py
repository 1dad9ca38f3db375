"""The roots at rest: one file in the CA's directory, each key encrypted, and the passphrase for it.

`roots.json` holds every root with its turn, so that a rotation is one atomic replacement. A key is PKCS#8 (PBES2),
encrypted under a key that scrypt derives from the passphrase, since PKCS#8 as written by the library iterates too
little for a passphrase that a person chose.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from certs.files import PRIVATE_FILE, Stamp, locked, private_directory, read_private, stamp, write_atomically
from certs.roots import ROOT_LIFETIME_S, Root, Roots, new_root, trusted
from proxy.errors import BriefcaseError
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.clock import Clock

PASSPHRASE_VARIABLE: Final = "BRIEFCASED_CA_PASSPHRASE_FILE"  # noqa: S105  # a variable's name
VERSION: Final = 1
SCRYPT_N: Final = 2**15
SALT_BYTES: Final = 16


def ca_directory(home: Path) -> Path:
    """Where the CA rests below the state directory."""
    return home / "ca"


def ca_passphrase(directory: Path, *, environment: Mapping[str, str]) -> Secret:
    """The passphrase of the CA's keys: from the operator's file, else from `directory/passphrase`.

    The latter is made on first use: 32 random bytes as base64. One line end behind the passphrase does not count.
    The operator's file is read whatever its mode is, because mounted secrets choose their own.

    Raises:
        BriefcaseError: unreadable, empty, or open to others.
    """
    if path := environment.get(PASSPHRASE_VARIABLE):
        return _passphrase(Path(path), _operators_file(Path(path)))
    private_directory(directory)
    own = directory / "passphrase"
    with locked(directory):
        try:
            content, _ = read_private(own)
        except FileNotFoundError:
            content = base64.b64encode(secrets.token_bytes(32)) + b"\n"
            write_atomically(own, content, mode=PRIVATE_FILE)
    return _passphrase(own, content)


def _operators_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BriefcaseError(f"{PASSPHRASE_VARIABLE}: {path} cannot be read: {error.strerror}") from error


def _passphrase(path: Path, content: bytes) -> Secret:
    value = content.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise BriefcaseError(f"{path}: the passphrase of the interception CA is empty")
    return Secret("ca passphrase", value)


class DirectoryRoots:
    """Roots in `directory/roots.json`, shared by every process that opens it."""

    def __init__(self, directory: Path, *, passphrase: Secret) -> None:
        self._directory: Final = directory
        self._path: Final = directory / "roots.json"
        self._passphrase: Final = passphrase
        self._roots: Roots = ()
        self._stamp: Stamp | None = None

    @classmethod
    def open(cls, directory: Path, *, passphrase: Secret, clock: Clock) -> Self:
        """Read the roots; make the first one where there is none; forget those whose time is over.

        Raises:
            BriefcaseError: unreadable, damaged, open to others, or another passphrase.
        """
        store = cls(directory, passphrase=passphrase)
        private_directory(directory)
        with locked(directory):
            try:
                store._load()
            except FileNotFoundError:
                store._save((new_root(clock.wall_ms(), lifetime_s=ROOT_LIFETIME_S),))
            kept = trusted(store._roots, clock.wall_ms())
            if len(kept) != len(store._roots):
                store._save(kept)
        return store

    def current(self) -> Roots:
        """All roots, as another process may have left them; one `stat` if nothing changed. Raises `BriefcaseError`."""
        if stamp(self._path) != self._stamp:
            self._reload()
        return self._roots

    def replace(self, change: Callable[[Roots], Roots]) -> None:
        """Put `change(roots)` in the place of the roots that are in the file now. Raises `BriefcaseError`."""
        with locked(self._directory):
            self._reload()
            self._save(change(self._roots))

    def _reload(self) -> None:
        try:
            self._load()
        except FileNotFoundError as error:
            raise BriefcaseError(f"{self._path} is gone") from error

    def _load(self) -> None:
        content, found = read_private(self._path)
        self._roots, self._stamp = _decode(self._path, content, self._passphrase), found

    def _save(self, roots: Roots) -> None:
        write_atomically(self._path, _encode(roots, self._passphrase), mode=PRIVATE_FILE)
        self._roots, self._stamp = roots, stamp(self._path)


def _encode(roots: Roots, passphrase: Secret) -> bytes:
    entries = [_entry(root, passphrase) for root in roots]
    return json.dumps({"version": VERSION, "roots": entries}, indent=2).encode() + b"\n"


def _entry(root: Root, passphrase: Secret) -> dict[str, str | int | None]:
    salt = os.urandom(SALT_BYTES)
    encryption = serialization.BestAvailableEncryption(_derived(passphrase, salt))
    key = root.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return {
        "certificate": root.certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "key": key.decode(),
        "salt": salt.hex(),
        "signs_from_ms": root.signs_from_ms,
        "trusted_until_ms": root.trusted_until_ms,
    }


def _decode(path: Path, content: bytes, passphrase: Secret) -> Roots:
    try:
        document = json.loads(content)
        version = document["version"]
        entries = list(document["roots"]) if version == VERSION else []
    except (ValueError, KeyError, TypeError) as error:
        raise BriefcaseError(f"{path} is damaged") from error
    if version != VERSION:
        raise BriefcaseError(f"{path} was written by another version of briefcased")
    if not entries:
        raise BriefcaseError(f"{path} is damaged: it holds no root")
    return tuple(_root(path, entry, passphrase) for entry in entries)


def _root(path: Path, entry: Mapping[str, object], passphrase: Secret) -> Root:
    try:
        cert = x509.load_pem_x509_certificate(str(entry["certificate"]).encode())
        salt, pem = bytes.fromhex(str(entry["salt"])), str(entry["key"]).encode()
        begins, until = entry["signs_from_ms"], entry["trusted_until_ms"]
    except (ValueError, KeyError, TypeError, x509.InvalidVersion) as error:
        raise BriefcaseError(f"{path} is damaged") from error
    key = _private_key(path, pem, _derived(passphrase, salt))
    if not isinstance(begins, int) or not isinstance(until, int | None) or key.public_key() != cert.public_key():
        raise BriefcaseError(f"{path} is damaged: a root and its key or its times do not belong together")
    return Root(cert, key, begins, until)


def _private_key(path: Path, pem: bytes, derived: bytes) -> ec.EllipticCurvePrivateKey:
    """The library's own message is left out: it says nothing that an operator can use."""
    try:
        key = serialization.load_pem_private_key(pem, derived)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BriefcaseError(f"{path}: a key cannot be decrypted: another passphrase, or damaged") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BriefcaseError(f"{path} is damaged: a key is of another kind")
    return key


def _derived(passphrase: Secret, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=SCRYPT_N, r=8, p=1).derive(passphrase.reveal()).hex().encode()
