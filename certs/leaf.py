"""Leaves: one certificate and key per host, kept until half of their life is over."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from certs.issue import Span, leaf_certificate, new_key

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    from certs.issue import Issuer

LEAF_LIFETIME_S: Final = 24 * 3600
MAX_LEAVES: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """What a server shows for one host.

    Attributes:
        chain: the issuing certificates to send behind it, nearest first, without the root.
        not_after_ms: the end of its validity, since the epoch.
    """

    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]
    not_after_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    leaf: Leaf
    span: Span
    issuer: Issuer


class Leaves:
    """The most recently used leaves, at most `capacity` (P7)."""

    def __init__(self, *, capacity: int = MAX_LEAVES) -> None:
        self._capacity: Final = capacity
        self._kept: Final[OrderedDict[str, _Kept]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, host: str, issuer: Issuer, now_ms: int) -> Leaf:
        """The same object while it is fresh and `issuer` is still the one that made it; else a new one.

        Raises:
            BriefcaseError: the issuer has expired.
        """
        kept = self._kept.get(host)
        if kept is None or kept.issuer is not issuer or not kept.span.fresh(now_ms):
            kept = self._kept[host] = _issue(host, issuer, now_ms)
        self._kept.move_to_end(host)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return kept.leaf


def _issue(host: str, issuer: Issuer, now_ms: int) -> _Kept:
    span = Span.starting(now_ms, LEAF_LIFETIME_S, ends_ms=issuer.not_after_ms)
    key = new_key()
    leaf = Leaf(leaf_certificate(key, issuer, host, span), key, issuer.chain, span.not_after_ms)
    return _Kept(leaf, span, issuer)
