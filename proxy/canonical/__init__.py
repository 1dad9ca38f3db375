"""The one canonical form of a request (P8): strict grammars, no repair, no guess. Pure."""

from proxy.canonical.head import ABSOLUTE, HeadLimits, Place, canonical_head
from proxy.canonical.host import is_local, parse_authority, parse_host
from proxy.canonical.query import query_pairs, set_query, without_query
from proxy.canonical.spiffe import SpiffeId, is_trust_domain, parse_spiffe_id

__all__ = [
    "ABSOLUTE",
    "HeadLimits",
    "Place",
    "SpiffeId",
    "canonical_head",
    "is_local",
    "is_trust_domain",
    "parse_authority",
    "parse_host",
    "parse_spiffe_id",
    "query_pairs",
    "set_query",
    "without_query",
]
