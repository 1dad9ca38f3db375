"""SD-JWT for a holder: parse, check every digest, choose disclosures, bind to a verifier. Pure.

Source: RFC 9901, sections 4 and 7.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from proxy.credentials.vc.jose import BadTokenError, parse, signed
from proxy.keys.public import base64url, from_base64url

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from proxy.credentials.kind import Reply, Sign
    from proxy.credentials.vc.jose import Jws
    from proxy.keys.public import PublicKey

type ClaimPath = tuple[str | int | None, ...]
"""Steps to a claim: a name, an index, or None for every element of a list (OpenID4VP 1.0, section 7)."""
MAX_DISCLOSURES: Final = 512
MAX_DEPTH: Final = 32
HASHES: Final = {"sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512}
_RESERVED: Final = frozenset({"_sd", "..."})
_SOME: Final = -1
"""An index that only None in a claim path names."""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One disclosure as the issuer made it. `name` is None for an element of a list."""

    text: str = field(repr=False)
    digest: str
    name: str | None
    value: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a disclosure belongs: the path of its claim, and the disclosures that it hangs on (itself the last)."""

    path: tuple[str | int, ...]
    chain: tuple[Disclosure, ...]


@dataclass(frozen=True, slots=True)
class SdJwt:
    """An SD-JWT whose disclosures all have their place; its signature is checked by `verify(sd_jwt.token, …)`.

    Attributes:
        claims: what it says when everything is disclosed, without `_sd` and `_sd_alg`.
        placed: every disclosure, in the issuer's order.
        hash_name: of its digests and of `sd_hash`.
    """

    token: Jws
    claims: Mapping[str, object] = field(repr=False)
    placed: tuple[Placed, ...] = field(repr=False)
    hash_name: str

    def needed(self, paths: Iterable[ClaimPath]) -> frozenset[str]:
        """Digests of the disclosures without which what `paths` name, and all below it, cannot be seen."""
        wanted = tuple(paths)
        return frozenset(d.digest for p in self.placed if _meets(wanted, p.path) for d in p.chain)

    def permitted(self, paths: Iterable[ClaimPath]) -> frozenset[str]:
        """Digests of those among `needed` that show nothing else: neither do the ones that they hang on."""
        wanted = tuple(paths)
        clean = {
            p.chain[-1].digest
            for p in self.placed
            if all(
                _within(wanted, at) if says else _meets(wanted, at) for at, says in _opened(p.chain[-1].value, p.path)
            )
        }
        return frozenset(
            d.digest
            for p in self.placed
            if _meets(wanted, p.path) and all(d.digest in clean for d in p.chain)
            for d in p.chain
        )

    def showing(self, digests: frozenset[str]) -> str:
        """The presentation, up to its last `~`, with these disclosures and no others."""
        texts = [p.chain[-1].text for p in self.placed if p.chain[-1].digest in digests]
        return "~".join((self.token.text, *texts, ""))


def read(text: str, types: Iterable[str]) -> SdJwt:
    """An SD-JWT as an issuer hands it out (RFC 9901, section 7.1, steps 1 and 3; 7.2).

    Raises:
        BadTokenError: it has a key binding already, a disclosure that is malformed, doubled or belongs nowhere, a
            digest that is doubled, or a hash that is not supported.
    """
    jwt, *texts = text.split("~")
    if not texts or texts.pop() != "" or len(texts) > MAX_DISCLOSURES:
        raise BadTokenError("it is not an SD-JWT as issuers hand it out")
    token = parse(jwt, types)
    hash_name = token.claims.get("_sd_alg", "sha-256")
    if not isinstance(hash_name, str) or hash_name not in HASHES:
        raise BadTokenError("its disclosures use a hash that is not supported")
    disclosures = [_disclosure(piece, hash_name) for piece in texts]
    known = {disclosure.digest: disclosure for disclosure in disclosures}
    if len(known) < len(disclosures):
        raise BadTokenError("a disclosure stands twice")
    unfolding = _Unfolding(known)
    claims = unfolding.mapping({n: v for n, v in token.claims.items() if n != "_sd_alg"}, (), ())
    if len(unfolding.placed) < len(known):
        raise BadTokenError("a disclosure is not referred to by any digest")
    ordered = tuple(unfolding.placed[disclosure.digest] for disclosure in disclosures)
    return SdJwt(token, claims, ordered, hash_name)


def bound(
    presentation: str,
    hash_name: str,
    slot: str,
    key: PublicKey,
    *,
    audience: str,
    nonce: str,
    now_s: int,
    more: Mapping[str, object] | None = None,
) -> Generator[Sign, Reply | bytes, str]:
    """`presentation` (up to its last `~`) with its key binding JWT (RFC 9901, section 4.3), which also says `more`."""
    sd_hash = digest_of(presentation, hash_name)
    claims = {**(more or {}), "iat": now_s, "aud": audience, "nonce": nonce, "sd_hash": sd_hash}
    return presentation + (yield from signed(slot, key, {"typ": "kb+jwt"}, claims))


def digest_of(text: str, hash_name: str) -> str:
    """Of the ASCII text itself: of a disclosure (RFC 9901, section 4.2.3), or a whole presentation (4.3.1)."""
    return base64url(HASHES[hash_name](text.encode("ascii")).digest())


def _disclosure(text: str, hash_name: str) -> Disclosure:
    try:
        content = orjson.loads(from_base64url(text))
    except ValueError:
        raise BadTokenError("a disclosure is not base64url of JSON") from None
    match content:
        case [str(), str(name), value] if name not in _RESERVED:
            return Disclosure(text, digest_of(text, hash_name), name, value)
        case [str(), value]:
            return Disclosure(text, digest_of(text, hash_name), None, value)
    raise BadTokenError("a disclosure is not an array of salt, name and value")


class _Unfolding:
    """Puts disclosures in their places, and finds digests that stand twice."""

    def __init__(self, known: Mapping[str, Disclosure]) -> None:
        self._known: Final = known
        self._seen: Final[set[str]] = set()
        self.placed: Final[dict[str, Placed]] = {}

    def value(self, node: object, path: tuple[str | int, ...], chain: tuple[Disclosure, ...]) -> object:
        if len(path) > MAX_DEPTH:
            raise BadTokenError("it is nested too deeply")
        if isinstance(node, dict):
            return self.mapping(node, path, chain)
        return self._sequence(node, path, chain) if isinstance(node, list) else node

    def mapping(
        self, node: Mapping[str, object], path: tuple[str | int, ...], chain: tuple[Disclosure, ...]
    ) -> dict[str, object]:
        if "..." in node or "_sd_alg" in node:
            raise BadTokenError("a claim has a name that is reserved")
        out = {n: self.value(v, (*path, n), chain) for n, v in node.items() if n != "_sd"}
        digests = node.get("_sd", [])
        if not isinstance(digests, list):
            raise BadTokenError("_sd is not a list of digests")
        for digest in digests:
            disclosure = self._of(digest)
            if disclosure is None:
                continue
            if disclosure.name is None or disclosure.name in out:
                raise BadTokenError("a disclosure does not fit where its digest stands")
            place = (*path, disclosure.name)
            out[disclosure.name] = self._placed(disclosure, place, chain)
        return out

    def _sequence(self, node: list[object], path: tuple[str | int, ...], chain: tuple[Disclosure, ...]) -> list[object]:
        out: list[object] = []
        for item in node:
            if not isinstance(item, dict) or "..." not in item:
                out.append(self.value(item, (*path, len(out)), chain))
                continue
            disclosure = self._of(item["..."])
            if len(item) > 1 or (disclosure is not None and disclosure.name is not None):
                raise BadTokenError("a disclosure does not fit where its digest stands")
            if disclosure is not None:
                out.append(self._placed(disclosure, (*path, len(out)), chain))
        return out

    def _of(self, digest: object) -> Disclosure | None:
        """The disclosure of `digest`; None for a decoy."""
        if not isinstance(digest, str) or digest in self._seen:
            raise BadTokenError("a digest stands twice, or is none")
        self._seen.add(digest)
        return self._known.get(digest)

    def _placed(self, disclosure: Disclosure, path: tuple[str | int, ...], chain: tuple[Disclosure, ...]) -> object:
        chain = (*chain, disclosure)
        self.placed[disclosure.digest] = Placed(path, chain)
        return self.value(disclosure.value, path, chain)


def _within(wanted: tuple[ClaimPath, ...], path: tuple[str | int, ...]) -> bool:
    """Whether `path` is what one of `wanted` names, or lies below it."""
    return any(len(w) <= len(path) and _along(w, path) for w in wanted)


def _meets(wanted: tuple[ClaimPath, ...], path: tuple[str | int, ...]) -> bool:
    """Whether `path` is what one of `wanted` names, lies below it, or on the way to it."""
    return any(_along(w, path) for w in wanted)


def _along(wanted: ClaimPath, path: tuple[str | int, ...]) -> bool:
    return all(matches(w, p) for w, p in zip(wanted, path, strict=False))


def _opened(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], bool]]:
    """Every place that a disclosure's value opens, and whether it says more than its name; digests open nothing."""
    yield path, not isinstance(value, dict | list) or not value
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in _RESERVED:
                yield from _opened(inner, (*path, name))
    elif isinstance(value, list):
        for inner in value:
            if not (isinstance(inner, dict) and "..." in inner):
                yield from _opened(inner, (*path, _SOME))


def matches(step: str | int | None, at: str | int) -> bool:
    """Whether one step of a claim path names `at`."""
    return isinstance(at, int) if step is None else (type(step) is type(at) and step == at)
