"""The policies of a configuration as one bundle: what decides beside their texts, and who has signed it all.

A signature covers the digest of the bundle (texts, own profiles, and all settings that decide) and a serial, which must
be higher than that of any bundle before: an older bundle does not come back with its old signature (I-04, I-05).

Form of the statement: canonical JSON (RFC 8785), signed as a JOSE signature (RFC 7518; Ed25519: RFC 8032).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
import rfc8785
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import Field, ValidationError

from proxy.catalog.loader import Shelf
from proxy.catalog.setting_changes import deciding
from proxy.documents import Strict
from proxy.errors import BriefcaseError
from proxy.keys.public import from_base64url
from proxy.keys.signer import KeyUnavailableError
from proxy.keys.verification import public_from, public_from_jwk, verified
from proxy.policy import Policies, Rollout
from proxy.policy_versions import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from proxy.catalog.checks import Mistake
    from proxy.catalog.schema import Profile
    from proxy.keys.public import PublicKey
    from proxy.policy import Vocabulary
    from proxy.settings import Settings

PURPOSE: Final = "credential-briefcase policies"
MAX_FILE_BYTES: Final = 64 * 1024
MAX_SERIAL: Final = 2**53 - 1


class Signature(Strict):
    """The file that `policies.signature` names."""

    key: str = Field(description="Thumbprint of the signer's public key (RFC 7638).")
    serial: int = Field(ge=1, le=MAX_SERIAL, description="Of this bundle; a later one has a higher.")
    signature: str = Field(description="In base64url.")


def statement(files_digest: str, serial: int) -> bytes:
    """What is signed."""
    return rfc8785.dumps({"purpose": PURPOSE, "version": 1, "bundle": files_digest, "serial": serial})


def frame_of(settings: Settings, profiles: Mapping[str, Profile], rollout: Rollout | None) -> Frame:
    """What decides beside the texts; `rollout` is what `load_rollout` makes of them.

    Raises `BriefcaseError` where a signer's key cannot be read.
    """
    own = own_profiles(profiles)
    enabled = sorted(own.keys() & settings.providers.keys())
    keys = sorted(_text(read_key(path)) for path in settings.policies.signers)
    return Frame(
        observe=settings.policies.observe,
        confirm=settings.policies.confirms(settings.mode),
        signers=tuple(keys),
        profiles={name: own[name].model_dump_json(by_alias=True) for name in enabled},
        settings=deciding(settings),
        **_staged(rollout),
    )


def _staged(rollout: Rollout | None) -> dict[str, Any]:
    """Where a candidate decides for nobody, there is none: it is only asked."""
    if rollout is None or not rollout.decides:
        return {}
    agents, groups, percent = rollout.stage
    stage = {"agents": sorted(agents), "groups": sorted(groups), "percent": percent}
    return {"candidate": tuple(text for _, text in rollout.candidate.sources), "stage": stage}


def staged(frame: Frame, words: Vocabulary) -> Rollout | None:
    """The rollout that `frame` tells of. Raises `ConfigError`: its policies do not fit any more."""
    if not frame.stage:
        return None
    candidate = Policies.load((("candidate", text) for text in frame.candidate), words)
    stage = frame.stage
    return Rollout(candidate, frozenset(stage["agents"]), frozenset(stage["groups"]), stage["percent"])


def own_profiles(profiles: Mapping[str, Profile]) -> Mapping[str, Profile]:
    """Those that do not come with the sidecar."""
    return profiles.own if isinstance(profiles, Shelf) else profiles


def signer_of(settings: Settings, frame: Frame, files_digest: str) -> tuple[str, int] | None:
    """Which of the signers in `frame` has signed the bundle, as a thumbprint, and the serial; None where none has.

    Raises:
        BriefcaseError: a signature is named, and it is none, or proves nothing: that is never passed over in silence.
    """
    path = settings.policies.signature
    if path is None:
        return None
    try:
        found = Signature.model_validate_json(_read(path))
        signature = from_base64url(found.signature)
    except (ValidationError, ValueError):
        raise BriefcaseError(f"{path}: this is not a signature of `briefcased policy sign`") from None
    for text in frame.signers:
        public = _from_text(text)
        if public.thumbprint == found.key:
            try:
                verified(public, statement(files_digest, found.serial), signature)
            except KeyUnavailableError:
                raise BriefcaseError(f"{path}: the signature is not over these policies and profiles") from None
            return found.key, found.serial
    return None


def signer_mistakes(settings: Settings) -> Iterator[Mistake]:
    """Keys that cannot be read. Reads them."""
    for index, path in enumerate(settings.policies.signers):
        try:
            read_key(path)
        except BriefcaseError as error:
            yield ("policies", "signers", index), str(error)


def read_key(path: Path) -> PublicKey:
    """A public key, PEM or JWK. Raises `BriefcaseError`."""
    raw = _read(path)
    try:
        if raw.lstrip().startswith(b"{"):
            document = orjson.loads(raw)
            return public_from_jwk(document, document.get("alg"))
        key = load_pem_public_key(raw)
        return public_from(key, None)  # type: ignore[arg-type]  # kinds that are not known are refused
    except (ValueError, UnsupportedAlgorithm, KeyUnavailableError, KeyError, AttributeError):
        raise BriefcaseError(f"{path}: this is no public key in PEM or JWK form") from None


def _text(public: PublicKey) -> str:
    return orjson.dumps({**public.jwk, "alg": public.algorithm}, option=orjson.OPT_SORT_KEYS).decode()


def _from_text(text: str) -> PublicKey:
    document = orjson.loads(text)
    return public_from_jwk(document, document["alg"])


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise BriefcaseError(f"{path}: {error.strerror or 'cannot be read'}") from None
