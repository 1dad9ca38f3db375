"""HTTP Message Signatures (RFC 9421), Content-Digest (RFC 9530): the one module that knows the library for them. Pure.

The library makes the signature base and writes the fields; the signature itself is made by whoever has the key.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, override

from http_message_signatures import HTTPMessageSigner
from http_message_signatures.algorithms import (
    ECDSA_P256_SHA256,
    ECDSA_P384_SHA384,
    ED25519,
    HMAC_SHA256,
    RSA_PSS_SHA512,
    RSA_V1_5_SHA256,
)
from http_message_signatures.digests import ContentDigest
from http_message_signatures.exceptions import HTTPMessageSignaturesException
from http_sf import parse, ser

from proxy.credentials.covered import UnsignableError
from proxy.credentials.signing_text import host_of, target_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from http_message_signatures.algorithms import HTTPSignatureAlgorithm
    from http_message_signatures.structures import PreparedSignature

    from proxy.credentials.covered import Parameters
    from proxy.model import RequestHead

ALGORITHMS: Final[Mapping[str, type[HTTPSignatureAlgorithm]]] = {
    made.algorithm_id: made
    for made in (ED25519, ECDSA_P256_SHA256, ECDSA_P384_SHA384, RSA_PSS_SHA512, RSA_V1_5_SHA256, HMAC_SHA256)
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request on its way to be signed: `base` is what the key signs."""

    base: bytes = field(repr=False)
    _message: _Message | _Answer = field(repr=False)
    _prepared: PreparedSignature = field(repr=False)
    _signer: HTTPMessageSigner = field(repr=False)

    def fields(self, signature: bytes) -> dict[str, str]:
        """`signature-input` and `signature`: ours under its label, beside those that were there."""
        try:
            self._signer.apply(self._message, self._prepared, signature, append_if_signature_exists=True)
        except HTTPMessageSignaturesException:
            raise UnsignableError("the signatures that the request has are malformed") from None
        made = {name.lower(): value for name, value in self._message.headers.items()}
        return {name: made[name] for name in _FIELDS}

    def signed(self, head: RequestHead, signature: bytes) -> RequestHead:
        """`head` with the signature."""
        ours = tuple(self.fields(signature).items())
        return replace(head, headers=tuple(pair for pair in head.headers if pair[0] not in _FIELDS) + ours)


_FIELDS: Final = ("signature-input", "signature")


class _Digested(ContentDigest):
    """The digest is set before: nothing is to be made or compared."""

    @classmethod
    @override
    def prepare(cls, headers: object, body: bytes | None, *, use_existing_digest: bool) -> None:
        """Nothing."""


class _Signer(HTTPMessageSigner):
    content_digest_class = _Digested


def prepared(head: RequestHead, body: bytes | None, covered: tuple[str, ...], parameters: Parameters) -> Prepared:
    """The signature base of `head` for the components `covered`, in their order.

    Raises:
        UnsignableError: a component is missing, or what is there cannot be serialised.
    """
    try:
        return _prepared(_Message(head, body, parameters.label), covered, parameters)
    except ValueError:
        raise UnsignableError("a field that is to be signed is missing or malformed") from None


def prepared_answer(
    url: str, fields: Iterable[tuple[str, str]], covered: tuple[str, ...], parameters: Parameters
) -> Prepared:
    """The signature base of a 200 answer with `fields` to a GET of `url`. Raises `UnsignableError`."""
    return _prepared(_Answer(url, fields), covered, parameters)


def _prepared(message: _Message | _Answer, covered: tuple[str, ...], parameters: Parameters) -> Prepared:
    signer = _Signer(signature_algorithm=ALGORITHMS[parameters.algorithm])
    try:
        made = signer.prepare(
            message,
            key_id=parameters.keyid,
            created=datetime.fromtimestamp(parameters.created_s, UTC),
            expires=None if parameters.expires_s is None else datetime.fromtimestamp(parameters.expires_s, UTC),
            nonce=parameters.nonce,
            label=parameters.label,
            tag=parameters.tag,
            include_alg=parameters.include_alg,
            covered_component_ids=covered,
        )
    except (HTTPMessageSignaturesException, ValueError, TypeError, KeyError):
        raise UnsignableError("a field that is to be signed is missing or malformed") from None
    return Prepared(made.signature_base, message, made, signer)


class _Message:
    """A request as the library reads it."""

    def __init__(self, head: RequestHead, body: bytes | None, label: str) -> None:
        self.method: Final = head.method
        self.url: Final = f"{head.scheme}://{host_of(head)}{target_of(head)}"
        self.request_target: Final = target_of(head)
        fields = [("host", host_of(head)), *((n, v) for n, v in head.headers if n not in _FIELDS)]
        length = len(body) if body is not None else head.content_length
        if length is not None and head.header("content-length") is None:
            fields.append(("content-length", str(length)))
        self.headers: Final = _Fields([*fields, *_others(head, label)])


class _Answer:
    """An answer as the library reads it."""

    def __init__(self, url: str, fields: Iterable[tuple[str, str]]) -> None:
        self.status_code: Final = 200
        self.headers: Final = _Fields(fields)
        self.request: Final = _Asked(url)


class _Asked:
    def __init__(self, url: str) -> None:
        self.method: Final = "GET"
        self.url: Final = url
        self.headers: Final = _Fields(())


def _others(head: RequestHead, label: str) -> Iterator[tuple[str, str]]:
    """The signatures of others; one of the agent's under our label is not theirs to give."""
    for name in _FIELDS:
        lines = [value for key, value in head.headers if key == name]
        if lines:
            members = parse(", ".join(lines).encode("latin-1"), tltype="dictionary")
            assert isinstance(members, dict)
            members.pop(label, None)
            if members:
                yield name, ser(members)


class _Fields(MutableMapping[str, str]):
    """Header lines, each of its own."""

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._lines: Final = list(lines)

    @override
    def __getitem__(self, name: str) -> str:
        values = [value for key, value in self._lines if key.lower() == name.lower()]
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    @override
    def __setitem__(self, name: str, value: str) -> None:
        if name in self:
            del self[name]
        self._lines.append((name, value))

    @override
    def __delitem__(self, name: str) -> None:
        self._lines[:] = [line for line in self._lines if line[0].lower() != name.lower()]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._lines))

    @override
    def __len__(self) -> int:
        return len(dict.fromkeys(name for name, _ in self._lines))

    @override
    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]
        """Every line."""
        return list(self._lines)
