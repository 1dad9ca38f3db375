"""DCQL: which of a verifier's queries a credential answers, and what it has to show for that. Pure.

Source: OpenID for Verifiable Presentations 1.0, sections 6 and 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.credentials.vc.held import SD_JWT
from proxy.credentials.vc.jose import BadTokenError
from proxy.credentials.vc.sdjwt import matches

if TYPE_CHECKING:
    from proxy.credentials.vc.held import Held
    from proxy.credentials.vc.sdjwt import ClaimPath

type Concrete = tuple[str | int, ...]
MAX_QUERIES: Final = 16
MAX_CLAIMS: Final = 128
FORMATS: Final = {SD_JWT: (SD_JWT, "vc+sd-jwt"), "vc+jwt": ("jwt_vc_json", "vc+jwt")}


def answered(query: object, held: Held, allowed: tuple[ClaimPath, ...], *, bound: bool) -> dict[str, frozenset[str]]:
    """Digests to disclose, by query id: the least that satisfies `query`, within what the profile allows.

    `bound`: the presentation will be bound to the holder's key, which a query demands unless it says otherwise.

    Raises:
        BadTokenError: it is malformed, or cannot be satisfied so.
    """
    listed = query.get("credentials") if isinstance(query, dict) else None
    if not isinstance(query, dict) or not isinstance(listed, list) or not 0 < len(listed) <= MAX_QUERIES:
        raise BadTokenError("the verifier's query is malformed")
    possible: dict[str, frozenset[str]] = {}
    names = []
    for entry in listed:
        if not isinstance(entry, dict) or not isinstance(name := entry.get("id"), str) or name in names:
            raise BadTokenError("the verifier's query is malformed")
        names.append(name)
        shown = _shown(entry, held, allowed, bound=bound)
        if shown is not None:
            possible[name] = shown
    chosen = _chosen(query.get("credential_sets"), names, possible)
    return {name: possible[name] for name in chosen}


def _chosen(sets: object, names: list[str], possible: dict[str, frozenset[str]]) -> list[str]:
    """Without sets every query must be satisfied; with them, one option of each required set."""
    if sets is None:
        sets = [{"options": [names]}]
    if not isinstance(sets, list) or not 0 < len(sets) <= MAX_QUERIES:
        raise BadTokenError("the verifier's query is malformed")
    chosen: list[str] = []
    for entry in sets:
        options = entry.get("options") if isinstance(entry, dict) else None
        if not isinstance(options, list) or not all(isinstance(option, list) for option in options):
            raise BadTokenError("the verifier's query is malformed")
        if entry.get("required", True) is False:
            continue
        fitting = [option for option in options if option and all(name in tuple(possible) for name in option)]
        if not fitting:
            raise BadTokenError("the verifier asks for more than the profile lets this credential show")
        chosen += [name for name in fitting[0] if name not in chosen]
    if not chosen:
        raise BadTokenError("the verifier requires nothing")
    return chosen


def _shown(
    entry: dict[str, object], held: Held, allowed: tuple[ClaimPath, ...], *, bound: bool
) -> frozenset[str] | None:
    """Digests that satisfy one query; None where this credential does not."""
    if entry.get("format") not in FORMATS[held.form] or "trusted_authorities" in entry:
        return None
    if not _of_type(entry.get("meta"), held):
        return None
    if not bound and entry.get("require_cryptographic_holder_binding", True) is not False:
        return None
    claims = entry.get("claims", [])
    if not isinstance(claims, list) or len(claims) > MAX_CLAIMS or not all(isinstance(c, dict) for c in claims):
        raise BadTokenError("the verifier's query is malformed")
    limit = held.permitted(allowed)
    for wanted in _claim_sets(entry.get("claim_sets"), claims):
        found = [_found(claim, held.claims) for claim in wanted]
        if any(not places for places in found):
            continue
        needed = held.needed(tuple(place for places in found for place in places))
        if needed <= limit:
            return needed
    return None


def _of_type(meta: object, held: Held) -> bool:
    match meta:
        case {"vct_values": list(values)} if held.form == SD_JWT:
            return bool(held.types & {value for value in values if isinstance(value, str)})
        case {"type_values": list(values)} if held.form != SD_JWT:
            listed = (kinds for kinds in values if isinstance(kinds, list) and kinds)
            return any({str(kind) for kind in kinds} <= held.types for kinds in listed)
    return False


def _claim_sets(sets: object, claims: list[dict[str, object]]) -> list[list[dict[str, object]]]:
    """The ways to satisfy a query's claims, the verifier's favourite first."""
    if sets is None:
        return [claims]
    by_id = {claim["id"]: claim for claim in claims if isinstance(claim.get("id"), str)}
    known = tuple(by_id)  # what is looked up may be unhashable
    if not isinstance(sets, list) or not all(isinstance(ids, list) and all(i in known for i in ids) for ids in sets):
        raise BadTokenError("the verifier's query is malformed")
    return [[by_id[name] for name in ids] for ids in sets]


def _found(claim: dict[str, object], claims: object) -> list[Concrete]:
    """Where the claim stands; only where it has one of the values asked for, if there are such."""
    path, values = claim.get("path"), claim.get("values")
    steps_good = isinstance(path, list) and path and all(_is_step(step) for step in path)
    if not isinstance(path, list) or not steps_good or not isinstance(values, list | None):
        raise BadTokenError("the verifier's query is malformed")
    places = _walk(claims, tuple(path), ())
    if values is None:
        return [place for place, _ in places]
    return [place for place, value in places if any(type(v) is type(value) and v == value for v in values)]


def _is_step(step: object) -> bool:
    if isinstance(step, bool):
        return False
    return step is None or isinstance(step, str) or (isinstance(step, int) and step >= 0)


def _walk(node: object, path: ClaimPath, done: Concrete) -> list[tuple[Concrete, object]]:
    if not path:
        return [(done, node)]
    items: list[tuple[str | int, object]] = []
    if isinstance(node, dict):
        items = list(node.items())
    elif isinstance(node, list):
        items = list(enumerate(node))
    return [found for at, value in items if matches(path[0], at) for found in _walk(value, path[1:], (*done, at))]
