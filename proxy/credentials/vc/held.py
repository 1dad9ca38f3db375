"""A credential that we hold: read, verified down to its status, and presented to one verifier. Pure.

Whatever its form, it is used only after its issuer's signature, its times, its type, its binding to our key and its
status have been found good.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from proxy.credentials.kind import Call, CallFailedError, call
from proxy.credentials.vc import sdjwt, vcjwt
from proxy.credentials.vc.jose import BadTokenError, parse, thumbprint, valid_at, verify
from proxy.credentials.vc.status import VALID, StatusUnknownError, refs_in, status_in
from proxy.credentials.vc.trust import HTTP_OK, issuer_keys

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from proxy.credentials.kind import Minting, Reply, Sign
    from proxy.credentials.vc.jose import Jws
    from proxy.credentials.vc.sdjwt import ClaimPath, SdJwt
    from proxy.credentials.vc.status import StatusRef
    from proxy.credentials.vc.trust import Issuer, Keys
    from proxy.keys.public import PublicKey

HOLDER: Final = "holder"
"""The slot of the key that credentials are bound to."""
SD_JWT: Final = "dc+sd-jwt"
SD_JWT_TYPES: Final = (SD_JWT, "vc+sd-jwt")
VC_JWT: Final = "vc+jwt"
PRESENTATION_S: Final = 120
RECHECK_S: Final = 12 * 3600
MAX_STATUS_BYTES: Final = 2 * 1024 * 1024
NEVER_HIDDEN: Final = frozenset({"iss", "nbf", "exp", "cnf", "vct", "vct#integrity", "status"})
"""Claims that an SD-JWT VC says openly, with all that is in them (draft-ietf-oauth-sd-jwt-vc)."""


class RevokedError(Exception):
    """The issuer has withdrawn or suspended the credential."""


@dataclass(frozen=True, slots=True)
class Held:
    """A credential in either form. `sd` is None for a VC-JWT, where nothing can be left out."""

    token: Jws
    sd: SdJwt | None
    claims: Mapping[str, object] = field(repr=False)

    @property
    def form(self) -> str:
        """`dc+sd-jwt` or `vc+jwt`."""
        return VC_JWT if self.sd is None else SD_JWT

    @property
    def types(self) -> frozenset[str]:
        """Its `vct`, or the types of the W3C model."""
        if self.sd is not None:
            return frozenset({str(self.claims.get("vct"))})
        kinds = self.claims["type"]
        return frozenset(kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str))

    def valid_at(self, now_s: int) -> int | None:
        """When it ends; None where it says nothing. Raises `BadTokenError`: it has ended, or does not hold yet."""
        return (valid_at if self.sd is not None else vcjwt.valid_at)(self.claims, now_s)

    def needed(self, paths: tuple[ClaimPath, ...]) -> frozenset[str]:
        """The disclosures that `paths` cannot do without."""
        return frozenset() if self.sd is None else self.sd.needed(paths)

    def permitted(self, paths: tuple[ClaimPath, ...]) -> frozenset[str]:
        """The disclosures of `paths` that show nothing beyond them."""
        return frozenset() if self.sd is None else self.sd.permitted(paths)

    def presented(
        self,
        digests: frozenset[str],
        key: PublicKey | None,
        *,
        audience: str,
        nonce: str,
        now_s: int,
        more: Mapping[str, object] | None = None,
    ) -> Generator[Sign, Reply | bytes, str]:
        """The presentation for one verifier; bound to `key`, where there is one. Of an SD-JWT the proof says `more`."""
        if self.sd is not None:
            shown = self.sd.showing(digests)
            if key is None:
                return shown
            return (
                yield from sdjwt.bound(
                    shown, self.sd.hash_name, HOLDER, key, audience=audience, nonce=nonce, now_s=now_s, more=more
                )
            )
        if key is None:
            return self.token.text
        return (
            yield from vcjwt.presented(
                self.token, HOLDER, key, audience=audience, nonce=nonce, now_s=now_s, lifetime_s=PRESENTATION_S
            )
        )

    def pieces(self) -> tuple[str, ...]:
        """The parts that an answer must never show: the signed token, and every disclosure with its salt."""
        return (self.token.text, *(p.chain[-1].text for p in (self.sd.placed if self.sd is not None else ())))


def read(text: str, form: str) -> Held:
    """The credential in `text`; nothing in it is believed yet. Raises `BadTokenError`."""
    if form == VC_JWT:
        token = vcjwt.read(text)
        return Held(token, None, token.claims)
    found = sdjwt.read(text, SD_JWT_TYPES)
    if any(p.path[0] in NEVER_HIDDEN for p in found.placed):
        raise BadTokenError("it hides a claim that must be said openly")
    if not isinstance(found.claims.get("vct"), str):
        raise BadTokenError("it has no type (vct)")
    return Held(found.token, found, found.claims)


@dataclass(frozen=True, slots=True)
class Demands:
    """What a credential must be. `key` is None where it need not be bound to ours."""

    types: frozenset[str]
    issuers: tuple[Issuer, ...]
    key: PublicKey | None
    require_status: bool
    now_s: int


def checked(held: Held, demands: Demands) -> Minting[int]:
    """Everything that must be so before `held` is used; until when that is known (seconds since the epoch).

    At the latest after `RECHECK_S`: an issuer may have changed its keys.

    Raises:
        BadTokenError: it must not be used.
        StatusUnknownError: nobody can say whether it still holds.
        RevokedError: it does not.
    """
    ends_s = held.valid_at(demands.now_s)
    if not held.types & demands.types:
        raise BadTokenError("it is of another type than the profile names")
    issuer = _issuer(held, demands)
    try:
        keys = yield from issuer_keys(issuer, held.token, demands.now_s)
    except CallFailedError:
        raise BadTokenError("its issuer's keys cannot be fetched") from None
    verify(held.token, keys)
    if demands.key is not None and thumbprint(_holder(held)) != demands.key.thumbprint:
        raise BadTokenError("it is not bound to this account's holder key")
    until = [demands.now_s + RECHECK_S, *([ends_s] if ends_s is not None else [])]
    refs = refs_in(held.claims)
    if not refs and demands.require_status:
        raise StatusUnknownError("it names no status list, and the profile wants one")
    unknown: StatusUnknownError | None = None
    for ref in refs:  # all of them: what one says of a withdrawal counts, whatever cannot be told of the others
        try:
            until.append((yield from _status(ref, issuer, keys, demands.now_s)))
        except StatusUnknownError as one:
            unknown = one
    if unknown is not None:
        raise unknown
    return min(until)


def _issuer(held: Held, demands: Demands) -> Issuer:
    named = held.token.says("iss") if held.sd is not None else vcjwt.issuer_of(held.token)
    for issuer in demands.issuers:
        if issuer.issuer == named:
            return issuer
    raise BadTokenError("it is by an issuer that the profile does not name")


def _holder(held: Held) -> object:
    if held.sd is None:
        return vcjwt.holder_of(held.token)
    match held.claims.get("cnf"):
        case {"jwk": jwk}:
            return jwk
    return None


def _status(ref: StatusRef, issuer: Issuer, keys: Keys, now_s: int) -> Minting[int]:
    """Until when the status at `ref` is known to be good. The list is signed by the credential's issuer."""
    try:
        reply = yield from call(
            Call("GET", ref.uri, {"accept": f"application/{ref.form}"}, max_reply_bytes=MAX_STATUS_BYTES)
        )
    except CallFailedError:
        raise StatusUnknownError("its status list cannot be fetched") from None
    if reply.status != HTTP_OK:
        raise StatusUnknownError("its status list cannot be fetched")
    try:
        text = reply.body.decode("ascii").strip()
        token = vcjwt.read(text) if ref.form == VC_JWT else parse(text, (ref.form,))
        if issuer.roots is not None:
            keys = yield from issuer_keys(issuer, token, now_s)
        verify(token, keys)
        if ref.form == VC_JWT and vcjwt.issuer_of(token) != issuer.issuer:
            raise BadTokenError("the status list is by another issuer")
    except (BadTokenError, UnicodeDecodeError):
        raise StatusUnknownError("its status list cannot be believed") from None
    value, fresh_s = status_in(token, ref, now_s)
    if value != VALID:
        raise RevokedError
    return fresh_s
