"""What both AWS kinds do to a request: take the agent's signature off, and sign with the account's keys. Pure."""

from __future__ import annotations

import hashlib
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import Field

from proxy.aws import actions, chunks, events, resign, signing
from proxy.aws.names import Place, place_of
from proxy.aws.scope import claim_of, settled
from proxy.canonical import query_pairs
from proxy.canonical.fields import values_of
from proxy.credentials.kind import NOTHING_LEARNT, Kind, Lesson, Presented, SecretName, filled, named_in, unusable
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.aws.scope import Claim
    from proxy.credentials.kind import Credential, Moment, Proving
    from proxy.model import RequestHead, ResponseHead

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_EITHER: Final = frozenset({signing.UNSIGNED, chunks.UNSIGNED_TRAILER})
_SYMMETRIC: Final = _EITHER | {chunks.CHUNKED, chunks.CHUNKED_TRAILER, chunks.EVENTS}
_ASYMMETRIC: Final = _EITHER | {chunks.ASYMMETRIC, chunks.ASYMMETRIC_TRAILER}
"""What may stand for a payload's hash."""
MAX_SKEW_S: Final = 86_400
SMALL_SKEW_S: Final = 60
SKEW_STATUSES: Final = frozenset({400, 401, 403})


class AwsSigning(Kind):
    """Fields and behaviour that are the same however the keys were obtained."""

    reads: ClassVar[frozenset[str]] = frozenset({"authorization"})
    bound_to_request: ClassVar[bool] = True

    services: str = Field(description="Signing names that are allowed: `s3,dynamodb`, `s3*`, `*`; with {variable}.")
    regions: str = Field(description="Regions that are allowed, written as `services` is.")
    access_key_id: SecretName = Field(default="access_key_id", description="Name of the secret, and of the stand-in.")
    secret_access_key: SecretName = Field(default="secret_access_key", description="Name of the secret.")
    session_token: SecretName = Field(default="session_token", description="Name of the optional secret.")
    service: str | None = Field(default=None, description="Signing name, where the host is none of AWS's own.")
    region: str | None = Field(default=None, description="Region, where the host is none of AWS's own.")
    refused_actions: tuple[str, ...] = Field(
        default=(), description="API actions that are never signed: `AssumeRole`, `/path/*`, `deadline:/path/*`."
    )

    def lacks(self) -> str | None:
        """The extra."""
        return signing.lacking()

    def variable_names(self) -> frozenset[str]:
        """What the limits are written with."""
        return named_in(self.services, self.regions)

    def stand_in_names(self) -> frozenset[str]:
        """An SDK signs with both; the access key id says which account is meant."""
        return frozenset({self.access_key_id, self.secret_access_key})

    def wants_body(self, head: RequestHead) -> bool:
        """Unless S3 is told the hash by the agent, and checks it, or the body is signed piece by piece."""
        place = self._place(head)
        return head.has_body and place is not None and _declared(head, place.services[0]) is None

    def prove(
        self, credential: Credential, head: RequestHead, body: bytes | None, moment: Moment
    ) -> Proving[Presented]:
        """The request with our signature in place of the agent's."""
        yield from ()
        place, claim = self._place(head), claim_of(head)
        if place is None:
            raise Refused(unusable("This host does not say which service and region it is."))
        services = _names(self.services, credential.facts)
        wanted = settled(claim, place, services=services, regions=_names(self.regions, credential.facts))
        if wanted.service in signing.S3_FAMILY and "%2F" in head.path:
            raise Refused(Denial("ambiguous_request", "A key of S3 has its slashes as they are.", by="credentials"))
        self._check_action(head, body, wanted.service)
        payload = _payload(head, claim, wanted, body)
        at_s, clean = moment.now_s + _skew_s(moment.learnt), resign.cleaned(head, claim)
        keys = self.keys_for(credential, head)
        try:
            signed, pieces = resign.signed(clean, keys, wanted, claim, payload=payload, at_s=at_s)
        except signing.CannotSignError:
            raise Refused(unusable("The request cannot be signed.")) from None
        return Presented(signed, body, filter=pieces)

    def learn(self, credential: Credential, head: RequestHead, response: ResponseHead, moment: Moment) -> Lesson:
        """How far AWS's clock is from ours, where it refused a request; the next one is signed by its clock."""
        del credential, head
        date = next((value for name, value in response.headers if name == "date"), None)
        if response.status not in SKEW_STATUSES or date is None:
            return NOTHING_LEARNT
        try:
            skew_s = int(parsedate_to_datetime(date).timestamp() - moment.now_s)
        except (ValueError, TypeError, OverflowError):
            return NOTHING_LEARNT
        if abs(skew_s - _skew_s(moment.learnt)) < SMALL_SKEW_S or abs(skew_s) > MAX_SKEW_S:
            return NOTHING_LEARNT
        return Lesson({"skew_s": str(skew_s)})

    def keys_for(self, credential: Credential, head: RequestHead) -> signing.Keys:
        """The keys for one request. Raises `Refused`."""
        del head
        return self.keys_of(credential)

    def keys_of(self, credential: Credential) -> signing.Keys:
        """The keys in `credential`. Raises `Refused`."""
        token = credential.text(self.session_token) if self.session_token in credential.secrets else None
        return signing.Keys(credential.text(self.access_key_id), credential.text(self.secret_access_key), token)

    def _place(self, head: RequestHead) -> Place | None:
        """Service and region of the destination, by the profile or by its name."""
        return self.place_at(head.authority.host)

    def place_at(self, host: str) -> Place | None:
        """The same for any host."""
        return place_of(host) if self.service is None else Place((self.service,), self.region)

    def _check_action(self, head: RequestHead, body: bytes | None, service: str) -> None:
        """Refuse what hands out credentials: `refused_actions`, and sessions of S3 Express.

        Raises:
            Refused: `operation_not_allowed`; `invalid_request`, it cannot be told.
        """
        session = service == signing.S3_EXPRESS and any(name == "session" for name, _ in query_pairs(head.query))
        if session or actions.refuses(self.refused_actions, service, head, body):
            detail = "This action hands out credentials; it is never signed."
            raise Refused(Denial("operation_not_allowed", detail, by="credentials"))


def _payload(head: RequestHead, claim: Claim, wanted: signing.Scope, body: bytes | None) -> str:
    """What stands for the body's hash.

    Raises:
        Refused: the body is in a form that cannot be signed anew.
    """
    family = wanted.service in signing.S3_FAMILY
    form = (head.header("content-type") or "").lower().startswith("multipart/form-data")
    if family and form and head.method == "POST" and head.query is None:
        detail = "A browser's upload by POST policy is not signed anew; upload by PUT."
        raise Refused(Denial("invalid_request", detail, by="credentials"))
    told = _declared(head, wanted.service)
    streams = told is not None and told.startswith("STREAMING-")
    if claim.in_query and not streams:
        told = signing.UNSIGNED if family else None
    if told is None:
        return hashlib.sha256(body or b"").hexdigest()
    allowed = _ASYMMETRIC if wanted.asymmetric else _SYMMETRIC
    if (claim.in_query and streams) or not (told in allowed or _HASH.fullmatch(told)):
        detail = "A body signed in this form cannot be signed anew."
        raise Refused(Denial("invalid_request", detail, by="credentials"))
    return told


def _declared(head: RequestHead, service: str) -> str | None:
    """What stands for the body's hash without our reading it, whether or not it can; None where we have to read."""
    given = head.header("x-amz-content-sha256")
    if given == chunks.EVENTS and values_of(head.headers, "content-type") == [events.CONTENT_TYPE]:
        return given
    if service not in signing.S3_FAMILY:
        return None
    if given is None:
        return signing.UNSIGNED if head.has_body else signing.EMPTY
    return given


def _names(template: str, variables: Mapping[str, str]) -> tuple[str, ...]:
    """The names in a list with commas."""
    return tuple(name for part in filled(template, variables).split(",") if (name := part.strip()))


def _skew_s(learnt: Mapping[str, str]) -> int:
    return int(learnt.get("skew_s", "0"))
