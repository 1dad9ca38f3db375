"""`kind: aws_role`: SigV4 and SigV4A with the temporary keys of a role, obtained from STS. Pure."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import Field

from proxy.aws import sts
from proxy.aws.signing import CannotSignError
from proxy.credentials.aws_signing import SKEW_STATUSES, AwsSigning
from proxy.credentials.kind import (
    Call,
    CallFailedError,
    Credential,
    Lesson,
    MintFailedError,
    SecretName,
    call,
    filled,
    named_in,
    unusable,
)
from proxy.errors import Denial, Refused
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Ingredients, Minting, Moment, Reply
    from proxy.model import RequestHead, ResponseHead

MARGIN_S: Final = 60
"""A session is not used in its last minute; it is renewed when a tenth of its time is left."""
SOONEST_RENEWAL: Final = 0.9
TOO_MANY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
MAX_WAIT_S: Final = 3600


class AwsRoleCredential(AwsSigning):
    """The account's keys, or an identity provider's token, get a session of a role; it signs the agent's requests."""

    kind: Literal["aws_role"]
    mints: ClassVar[bool] = True
    per_agent: ClassVar[bool] = True

    role_arn: str = Field(description="The role, with {variable}.")
    web_identity_token: SecretName | None = Field(
        default=None, description="Name of the secret with an identity provider's token; it stands in for the keys."
    )
    external_id: str | None = Field(default=None, description="With {variable}; not sent where the account has none.")
    session_name: str = Field(default="briefcased-{agent}", description="With {agent} and {variable}.")
    duration_s: Annotated[int, Field(ge=900, le=43_200)] = 3600
    session_policy: str | None = Field(default=None, description="JSON text: what the session may do at most.")
    policy_arns: tuple[str, ...] = Field(default=(), description="Managed policies that limit the session too.")
    sts_url: str = Field(
        default="https://sts.{sts_region}.amazonaws.com/", description="With {sts_region}, {variable}."
    )
    sts_region: str = Field(default="us-east-1", description="Where the session is asked for, with {variable}.")

    def secret_names(self) -> frozenset[str]:
        """The key pair, or the token."""
        if self.web_identity_token is not None:
            return frozenset({self.web_identity_token})
        return frozenset({self.access_key_id, self.secret_access_key})

    def optional_secret_names(self) -> frozenset[str]:
        """A pair that is temporary has a session token too."""
        return frozenset() if self.web_identity_token is not None else frozenset({self.session_token})

    def variable_names(self) -> frozenset[str]:
        """The role's, and what the limits and the endpoint are written with."""
        texts = (self.role_arn, self.sts_url, self.sts_region, self.session_name)
        return super().variable_names() | (named_in(*texts) - {"agent", "sts_region"})

    def endpoints(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        """STS."""
        return (self._url(variables),)

    def mint(self, given: Ingredients) -> Minting[Credential]:
        """A session, from one call to STS."""
        reply = yield from _answered(self._question(given))
        try:
            session = sts.session_in(reply.status, reply.body)
        except sts.NotAnAnswerError:
            raise MintFailedError(_failed("STS answered without a session.")) from None
        if isinstance(session, str):
            raise _refusal(session, reply)
        keys, left_s = session.keys, session.expires_at_s - given.now_s
        if not MARGIN_S < left_s <= self.duration_s + 2 * MARGIN_S:
            raise MintFailedError(_failed("STS gave a session that does not last as asked."))
        assert keys.session_token is not None
        secrets = {
            self.access_key_id: Secret(self.access_key_id, keys.access_key_id),
            self.secret_access_key: Secret(self.secret_access_key, keys.secret_access_key),
            self.session_token: Secret(self.session_token, keys.session_token),
        }
        return Credential(
            secrets,
            facts=given.variables,
            expires_at_s=session.expires_at_s - MARGIN_S,
            refresh_at_s=given.now_s + int(left_s * SOONEST_RENEWAL) - MARGIN_S,
            token=self.session_token,
        )

    def learn(self, credential: Credential, head: RequestHead, response: ResponseHead, moment: Moment) -> Lesson:
        """As for every kind of AWS's; a session that was ended early is not presented again."""
        told = next((value for name, value in response.headers if name == "x-amzn-errortype"), "")
        if response.status in SKEW_STATUSES and told.partition(":")[0] in sts.REVOKED:
            return Lesson(again="mint")
        return super().learn(credential, head, response, moment)

    def _question(self, given: Ingredients) -> Call:
        variables = {**given.variables, "agent": given.agent}
        role = sts.Role(
            arn=filled(self.role_arn, variables),
            session=sts.session_name(filled(self.session_name, variables)),
            duration_s=self.duration_s,
            external_id=self._external_id(variables),
            policy=self.session_policy,
            policy_arns=self.policy_arns,
        )
        url, base = self._url(given.variables), Credential(given.secrets)
        try:
            if self.web_identity_token is not None:
                headers, body = sts.assume_role_with_web_identity(role, base.text(self.web_identity_token))
            else:
                region, keys = filled(self.sts_region, given.variables), self.keys_of(base)
                headers, body = sts.assume_role(role, keys, url=url, region=region, at_s=given.now_s)
        except CannotSignError:
            raise MintFailedError(unusable("The request for a role cannot be signed.")) from None
        except Refused as refused:
            raise MintFailedError(refused.denial) from None
        return Call("POST", url, headers, body)

    def _url(self, variables: Mapping[str, str]) -> str:
        return filled(self.sts_url, {**variables, "sts_region": filled(self.sts_region, variables)})

    def _external_id(self, variables: Mapping[str, str]) -> str | None:
        text = self.external_id
        return None if text is None or named_in(text) - variables.keys() else filled(text, variables)


def _answered(question: Call) -> Minting[Reply]:
    try:
        return (yield from call(question))
    except CallFailedError:
        raise MintFailedError(_failed("STS did not answer.")) from None


def _refusal(code: str, reply: Reply) -> MintFailedError:
    """What the agent is told of an error of STS's; its own words are not repeated."""
    wait = reply.headers.get("retry-after", "")
    wait_s = min(int(wait), MAX_WAIT_S) if re.fullmatch(r"[0-9]{1,6}", wait) else None
    if code in sts.THROTTLED or reply.status in TOO_MANY:
        return MintFailedError(_failed("STS is busy."), retry_after_s=wait_s)
    if code in sts.REVOKED:
        detail = "AWS does not accept the account's keys or token any longer."
        return MintFailedError(Denial("credential_revoked", detail, by="credentials"))
    if code in sts.FORBIDDEN:
        return MintFailedError(unusable("The account may not assume this role."))
    return MintFailedError(_failed("STS refused to give a session."))


def _failed(detail: str) -> Denial:
    return Denial("token_endpoint_error", detail, by="credentials")
