"""`kind: aws_s3_express`: a directory bucket of S3 Express, by the session that it gives for the account's keys. Pure.

Source: Amazon S3 API reference, CreateSession; S3 user guide, "Authenticating and authorizing requests" of directory
buckets; which calls are signed without a session: the AWS SDKs' model of S3 (`DisableS3ExpressSessionAuth`).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field

from proxy.aws import sts
from proxy.aws.signing import EMPTY, S3_EXPRESS, CannotSignError, Keys, Scope, Unsigned, sign_headers
from proxy.credentials.aws_signing import AwsSigning
from proxy.credentials.kind import (
    Call,
    CallFailedError,
    Credential,
    MintFailedError,
    call,
    filled,
    named_in,
    unusable,
)
from proxy.errors import Denial, Refused
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Ingredients, Minting, Moment, Presented, Proving, Reply
    from proxy.model import RequestHead

MARGIN_S: Final = 20
"""A session lasts five minutes; it is not used in its last moments, and renewed when a fifth of its time is left."""
SOONEST_RENEWAL: Final = 0.8
MAX_LIFETIME_S: Final = 900
MAX_WAIT_S: Final = 3600
_BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_SESSION: Final = "session "
"""Before the names of the session's own secrets: the account's keep theirs."""


class AwsS3ExpressCredential(AwsSigning):
    """The account's keys open a session at one bucket; its keys sign what goes there."""

    kind: Literal["aws_s3_express"]
    mints: ClassVar[bool] = True

    services: str = Field(default=S3_EXPRESS, description="See `aws`; a bucket has this one.")
    regions: str = Field(default="*", description="See `aws`; the bucket's address says the region.")
    bucket_url: str = Field(description="https://BUCKET.s3express-ZONE.REGION.amazonaws.com, with {variable}.")
    session_mode: Literal["ReadWrite", "ReadOnly"] = Field(
        default="ReadWrite", description="What the session may do at most."
    )

    def secret_names(self) -> frozenset[str]:
        """The key pair."""
        return frozenset({self.access_key_id, self.secret_access_key})

    def optional_secret_names(self) -> frozenset[str]:
        """A pair that is temporary has a session token too."""
        return frozenset({self.session_token})

    def stand_in_names(self) -> frozenset[str]:
        """All three: what an agent is told of a session is made of them."""
        return super().stand_in_names() | {self.session_token}

    def variable_names(self) -> frozenset[str]:
        """What the limits and the bucket's address are written with."""
        return super().variable_names() | named_in(self.bucket_url)

    def endpoints(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        """The bucket itself."""
        return (filled(self.bucket_url, variables),)

    def mint(self, given: Ingredients) -> Minting[Credential]:
        """A session, from one call to the bucket."""
        try:
            question = self._question(given)
        except CannotSignError:
            raise MintFailedError(unusable("The request for a session cannot be signed.")) from None
        except Refused as refused:
            raise MintFailedError(refused.denial) from None
        try:
            reply = yield from call(question)
            session = sts.session_in(reply.status, reply.body)
        except CallFailedError:
            raise MintFailedError(_failed("The bucket did not answer.")) from None
        except sts.NotAnAnswerError:
            raise MintFailedError(_failed("The bucket answered without a session.")) from None
        if isinstance(session, str):
            raise _refusal(session, reply)
        left_s = session.expires_at_s - given.now_s
        if not MARGIN_S < left_s <= MAX_LIFETIME_S:
            raise MintFailedError(_failed("The bucket gave a session that does not last as it should."))
        assert session.keys.session_token is not None
        values = session.keys.access_key_id, session.keys.secret_access_key, session.keys.session_token
        names = [_SESSION + name for name in (self.access_key_id, self.secret_access_key, self.session_token)]
        own = {name: Secret(name, value) for name, value in zip(names, values, strict=True)}
        return Credential(
            {**given.secrets, **own},
            facts=given.variables,
            expires_at_s=session.expires_at_s - MARGIN_S,
            refresh_at_s=given.now_s + int(left_s * SOONEST_RENEWAL) - MARGIN_S,
            token=names[2],
        )

    def prove(
        self, credential: Credential, head: RequestHead, body: bytes | None, moment: Moment
    ) -> Proving[Presented]:
        """As every kind of AWS's; for this bucket alone."""
        if head.authority.host != urlsplit(filled(self.bucket_url, credential.facts)).hostname:
            raise Refused(Denial("credential_scope", "This account's session is for another bucket.", by="credentials"))
        return (yield from super().prove(credential, head, body, moment))

    def keys_for(self, credential: Credential, head: RequestHead) -> Keys:
        """The session's; copies are signed with the account's own. Raises `Refused`."""
        if head.header("x-amz-copy-source") is not None:
            return self.keys_of(credential)
        names = (self.access_key_id, self.secret_access_key, self.session_token)
        key_id, key, token = (credential.text(_SESSION + name) for name in names)
        return Keys(key_id, key, token, express=True)

    def _question(self, given: Ingredients) -> Call:
        url = filled(self.bucket_url, given.variables).rstrip("/")
        host, _ = sts.place(url)
        place = self.place_at(urlsplit(url).hostname or "")
        if place is None or place.region is None:
            raise MintFailedError(unusable("The bucket's address does not say its region."))
        request = Unsigned("GET", host, "/?session", (("x-amz-create-session-mode", self.session_mode),))
        keys, scope = self.keys_of(Credential(given.secrets)), Scope(S3_EXPRESS, place.region)
        headers = sign_headers(request, keys, scope, payload=EMPTY, at_s=given.now_s)
        return Call("GET", url + request.target, dict(headers))


def _refusal(code: str, reply: Reply) -> MintFailedError:
    """What the agent is told of an error of the bucket's; its own words are not repeated."""
    wait = reply.headers.get("retry-after", "")
    wait_s = min(int(wait), MAX_WAIT_S) if re.fullmatch(r"[0-9]{1,6}", wait) else None
    if reply.status in _BUSY or code in sts.THROTTLED:
        return MintFailedError(_failed("The bucket is busy."), retry_after_s=wait_s)
    if code in sts.REVOKED:
        detail = "AWS does not accept the account's keys any longer."
        return MintFailedError(Denial("credential_revoked", detail, by="credentials"))
    if code in sts.FORBIDDEN:
        return MintFailedError(unusable("The account may not open a session of this bucket."))
    return MintFailedError(_failed("The bucket refused to give a session."))


def _failed(detail: str) -> Denial:
    return Denial("token_endpoint_error", detail, by="credentials")
