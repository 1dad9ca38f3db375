"""For which service and region a request is signed: what the agent's own signature says, against its host. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from proxy.aws.names import EVERY_REGION, GLOBAL_REGION, Place
from proxy.aws.signing import Scope
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.model import RequestHead

SYMMETRIC: Final = "AWS4-HMAC-SHA256"
ASYMMETRIC: Final = "AWS4-ECDSA-P256-SHA256"
_CREDENTIAL: Final = re.compile(
    r"[^/,\s]{1,256}/\d{8}/(?:(?P<region>[A-Za-z0-9*-]{1,64})/)?(?P<service>[A-Za-z0-9._-]{1,64})/aws4_request"
)
_IN_HEADER: Final = re.compile(r"Credential=([^,\s]+)")
_REGION_SET: Final = re.compile(r"[a-z0-9*-]{1,64}(?:,[a-z0-9*-]{1,64}){0,15}")
SIGNATURE_QUERY: Final = frozenset(
    {
        "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signedheaders", "x-amz-signature",
        "x-amz-security-token", "x-amz-region-set", "x-amz-content-sha256", "x-amz-s3session-token",
    }
)  # fmt: skip
OLD_SIGNATURE_QUERY: Final = frozenset({"awsaccesskeyid", "signature", "expires"})
SIGNATURE_HEADERS: Final = frozenset(
    {
        "authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "x-amz-region-set", "date",
        "x-amz-s3session-token",
    }
)  # fmt: skip
MAX_EXPIRES_S: Final = 300


@dataclass(frozen=True, slots=True)
class Claim:
    """What the agent's own signature says; `service` is empty where there is none, or an old one.

    Attributes:
        regions: one region; with `asymmetric` a region set; empty where it says none.
        in_query: the request is presigned.
        expires_s: how long a presigned request is to be good for, at most `MAX_EXPIRES_S`: it is sent at once.
    """

    service: str = ""
    regions: tuple[str, ...] = ()
    asymmetric: bool = False
    in_query: bool = False
    expires_s: int = MAX_EXPIRES_S


def claim_of(head: RequestHead) -> Claim:
    """What the agent's signature claims.

    Raises:
        Refused: `credential_scope`; there is a signature of version 4 that does not say what for.
    """
    pairs = {name.lower(): value for name, value in parse_qsl(head.query or "", keep_blank_values=True)}
    if "x-amz-signature" in pairs:
        asymmetric = pairs.get("x-amz-algorithm") == ASYMMETRIC
        given = pairs.get("x-amz-expires", "")
        expires_s = min(int(given), MAX_EXPIRES_S) if re.fullmatch(r"[1-9][0-9]{0,5}", given) else MAX_EXPIRES_S
        region_set = pairs.get("x-amz-region-set", "")
        shape = Claim(asymmetric=asymmetric, in_query=True, expires_s=expires_s)
        return _claim(pairs.get("x-amz-credential", ""), region_set, shape)
    if pairs.keys() >= OLD_SIGNATURE_QUERY:
        return Claim(in_query=True)
    scheme, _, parameters = (head.header("authorization") or "").partition(" ")
    if scheme not in (SYMMETRIC, ASYMMETRIC):
        return Claim()
    found = _IN_HEADER.search(parameters)
    region_set = head.header("x-amz-region-set") or ""
    return _claim(found[1] if found else "", region_set, Claim(asymmetric=scheme == ASYMMETRIC))


def _claim(credential: str, region_set: str, shape: Claim) -> Claim:
    """`shape` with service and region, from what stands in `Credential=`."""
    found = _CREDENTIAL.fullmatch(credential)
    region = found["region"] or "" if found is not None else ""
    asymmetric = shape.asymmetric
    if found is None or asymmetric == bool(region) or (asymmetric and not _REGION_SET.fullmatch(region_set)):
        raise Refused(_outside("The request's signature does not say for which service and region it is."))
    return replace(shape, service=found["service"], regions=tuple(region_set.split(",")) if asymmetric else (region,))


def settled(claim: Claim, place: Place, *, services: Sequence[str], regions: Sequence[str]) -> Scope:
    """For what the request is signed.

    Args:
        claim: what the agent's signature says.
        place: what the host says, or the profile.
        services: signing names that are allowed; `*` is every one, `s3*` those that begin so.
        regions: the same for regions.

    Raises:
        Refused: `credential_scope`; the two differ, or are outside what is allowed.
    """
    service = claim.service or place.services[0]
    if service not in place.services:
        raise Refused(_outside("This host belongs to another service than the request is signed for."))
    if not _within(service, services):
        raise Refused(_outside("This account may not be used for this service."))
    if claim.asymmetric:
        wanted = claim.regions
    elif place.region == EVERY_REGION:
        raise Refused(_outside("This host takes signatures of SigV4A only."))
    else:
        wanted = (place.region or (claim.regions[0] if claim.regions else GLOBAL_REGION),)
        if claim.regions and claim.regions != wanted:
            raise Refused(_outside("This host belongs to another region than the request is signed for."))
    own = (place.region,) if place.region not in (None, EVERY_REGION) else ()
    if not all(_within(region, regions) for region in (*wanted, *own) if region is not None):
        raise Refused(_outside("This account may not be used in this region."))
    return Scope(service, ",".join(wanted), claim.asymmetric)


def _within(name: str, allowed: Sequence[str]) -> bool:
    """A name that has a pattern in it (`*`) is within everything only."""
    if "*" in name:
        return "*" in allowed
    return any(name.startswith(a[:-1]) if a.endswith("*") else name == a for a in allowed)


def _outside(detail: str) -> Denial:
    return Denial("credential_scope", detail, by="credentials")
