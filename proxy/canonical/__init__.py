"""The one canonical form of a request (P8): strict grammars, no repair, no guess. Pure."""

from proxy.canonical.head import HeadLimits, canonical_head
from proxy.canonical.host import parse_authority, parse_host
from proxy.canonical.query import query_pairs, set_query, without_query

__all__ = [
    "HeadLimits",
    "canonical_head",
    "parse_authority",
    "parse_host",
    "query_pairs",
    "set_query",
    "without_query",
]
