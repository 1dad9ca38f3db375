"""Signing an answer on the approver's own machine: with a key file, or by a command that holds the key.

The command gets the text on standard input and writes the signature to standard output in base64url: 64 bytes, Ed25519
or the two halves of ES256 (RFC 7518, section 3.4). It stands for whatever keeps the key: an agent, a token, a phone.
"""

from __future__ import annotations

import secrets
import subprocess
from functools import partial
from typing import TYPE_CHECKING, Final

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from proxy.approval.statement import ALGORITHMS, Proof, Wish, statement
from proxy.errors import BriefcaseError
from proxy.keys.public import from_base64url
from proxy.keys.signer import KeyUnavailableError
from proxy.keys.software import load
from proxy.keys.verification import public_from, public_from_jwk
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from proxy.approval.statement import Text
    from proxy.keys.public import PublicKey

type Sign = Callable[[bytes], bytes]
COMMAND_TIMEOUT_S: Final = 60.0
"""A person may have to touch something."""
SIGNATURE_BYTES: Final = 64
NONCE_BYTES: Final = 16


def prove(
    sign: Sign,
    key: str,
    *,
    approval: str,
    fingerprint: str,
    card: Mapping[str, object],
    yes: bool,
    approver: str,
    now_ms: int,
    grant: Wish | None = None,
) -> Proof:
    """The proof of an answer; `key` is the id of the registered key."""
    text = partial(
        statement, approval=approval, fingerprint=fingerprint, card=card, yes=yes, approver=approver, grant=grant
    )
    return proven(sign, key, text, now_ms=now_ms)


def proven(sign: Sign, key: str, text: Text, *, now_ms: int) -> Proof:
    """The proof of what `text` says, with a nonce of its own."""
    nonce = secrets.token_urlsafe(NONCE_BYTES)
    return Proof(key, now_ms, nonce, sign(text(at_ms=now_ms, nonce=nonce)))


def with_key_file(path: Path) -> tuple[PublicKey, Sign]:
    """The public half and a way to sign with the private key in `path`, PEM or JWK.

    Raises:
        BriefcaseError: it cannot be read, others may read it, or it is no Ed25519 or P-256 key.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise BriefcaseError(f"{path}: others may read this key; chmod 600 it")
        signer = load(Secret("approver key", path.read_bytes()))
    except OSError as error:
        raise BriefcaseError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except KeyUnavailableError as error:
        raise BriefcaseError(f"{path}: {error}") from None
    if signer.public.algorithm not in ALGORITHMS:
        raise BriefcaseError(f"{path}: approvers sign with Ed25519 or ES256")
    return signer.public, signer.signature


def public_in(path: Path) -> PublicKey:
    """The public key in `path`, PEM or JWK. Raises `BriefcaseError`: it cannot be read, or is none."""
    try:
        text = path.read_bytes()
        if text.lstrip().startswith(b"{"):
            return public_from_jwk(orjson.loads(text), None)
        key = load_pem_public_key(text)
    except OSError as error:
        raise BriefcaseError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except (ValueError, UnsupportedAlgorithm, KeyUnavailableError):
        raise BriefcaseError(f"{path}: this is no public key") from None
    if not isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey):
        raise BriefcaseError(f"{path}: approvers sign with Ed25519 or ES256")
    return public_from(key, None)


def with_command(command: Sequence[str]) -> Sign:
    """A way to sign by running `command`; signing raises `BriefcaseError` where it fails or says something else."""

    def sign(text: bytes) -> bytes:
        try:
            done = subprocess.run(  # noqa: S603  # the approver's own command
                command, input=text, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False
            )
        except OSError as error:
            raise BriefcaseError(f"{command[0]}: {error.strerror or 'cannot be run'}") from None
        except subprocess.TimeoutExpired:
            raise BriefcaseError(f"{command[0]}: no signature within {COMMAND_TIMEOUT_S:g} s") from None
        if done.returncode != 0:
            raise BriefcaseError(f"{command[0]}: ended with {done.returncode}")
        try:
            signature = from_base64url(done.stdout.decode("ascii").strip())
        except ValueError:
            raise BriefcaseError(f"{command[0]}: its output is not base64url") from None
        if len(signature) != SIGNATURE_BYTES:
            raise BriefcaseError(f"{command[0]}: its output is not a signature of {SIGNATURE_BYTES} bytes")
        return signature

    return sign
