"""`kind: vc`: a verifiable credential, verified before it is presented. See docs/credentials/vc.md."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, Self, override

from pydantic import Field, field_validator, model_validator

from proxy.credentials.header import with_headers
from proxy.credentials.kind import (
    NOTHING_LEARNT,
    Credential,
    Kind,
    Lesson,
    MintFailedError,
    Presented,
    SecretName,
    filled,
    named_in,
    unusable,
)
from proxy.credentials.vc.exchanges import Presenting, by_token_request, by_verifier
from proxy.credentials.vc.held import HOLDER, SD_JWT, VC_JWT, Demands, RevokedError, checked, read
from proxy.credentials.vc.jose import BadTokenError
from proxy.credentials.vc.status import StatusUnknownError
from proxy.credentials.vc.trust import Issuer  # noqa: TC001  # pydantic needs it at run time
from proxy.credentials.vc.ways import ForVerifier, InHeader, InTokenRequest, nonce_in, random_nonce
from proxy.errors import Denial
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Ingredients, Minting, Moment, Proving
    from proxy.credentials.vc.held import Held
    from proxy.model import RequestHead, ResponseHead

CREDENTIAL: Final = "credential"
"""The name of the credential itself: among what is kept, and among a `Credential`'s secrets."""
TOKEN: Final = "access_token"  # noqa: S105  # a name
UNCONFIRMED_S: Final = 60
"""How long a credential whose status is unknown may be used, once, after a person has said yes."""
NONCE: Final = "nonce"
UNAUTHORIZED: Final = 401
ClaimSteps = Annotated[tuple[str | int | None, ...], Field(min_length=1, max_length=16)]
Use = Annotated[InHeader | InTokenRequest | ForVerifier, Field(discriminator="by")]


class VcCredential(Kind):
    """A verifiable credential: an account's secret, or received by OpenID4VCI."""

    kind: Literal["vc"]
    format: Literal["dc+sd-jwt", "vc+jwt"] = SD_JWT
    secret: SecretName | None = Field(
        default=None,
        description="The secret that holds the credential; none: `briefcased credentials receive` gets it.",
    )
    types: Annotated[tuple[str, ...], Field(min_length=1, description="Its `vct`, or one of its W3C types.")]
    issuers: Annotated[tuple[Issuer, ...], Field(min_length=1)]
    disclose: tuple[ClaimSteps, ...] = Field(
        default=(), description="Claim paths that may be shown; the rest never is."
    )
    binding: Literal["key", "none"] = Field(default="key", description="`none`: it need not be bound to our key.")
    algorithm: Literal["ES256", "ES384", "Ed25519"] = Field(default="ES256", description="Of a holder key made by us.")
    require_status: bool = Field(default=False, description="Refuse a credential that names no status list.")
    use: Use

    mints: ClassVar[bool] = True
    durable: ClassVar[bool] = True
    retries: ClassVar[int] = 1
    in_doubt: ClassVar[bool] = True

    @field_validator("types")
    @classmethod
    def _not_everything(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        if "VerifiableCredential" in types or not all(types):
            raise ValueError("a type says what the credential is for")
        return types

    @model_validator(mode="after")
    def _bound_where_it_has_to_be(self) -> Self:
        if self.format == VC_JWT and self.disclose:
            raise ValueError("a VC-JWT cannot be shown in part: it has nothing to disclose")
        return self

    @override
    def secret_names(self) -> frozenset[str]:
        return frozenset({self.secret}) if self.secret is not None else frozenset()

    @override
    def variable_names(self) -> frozenset[str]:
        match self.use:
            case InHeader(audience=audience):
                return named_in(audience)
            case InTokenRequest() as way:
                return named_in(way.token_endpoint, way.audience or "", way.nonce_endpoint or "", *way.form.values())
            case ForVerifier(start=start):
                return named_in(start)

    @override
    def key_names(self) -> Mapping[str, str]:
        return {HOLDER: self.algorithm} if self.binding == "key" else {}

    @override
    def endpoints(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        match self.use:
            case InHeader():
                return ()
            case InTokenRequest(token_endpoint=endpoint):
                return (filled(endpoint, variables),)
            case ForVerifier(start=start, response_hosts=hosts):
                return (filled(start, variables), *(f"https://{host}" for host in hosts))

    @override
    def kept_secrets(self, kept: Mapping[str, str]) -> Mapping[str, Secret]:
        return {CREDENTIAL: Secret(CREDENTIAL, kept[CREDENTIAL])} if CREDENTIAL in kept else {}

    @override
    def mint(self, given: Ingredients) -> Minting[Credential]:
        held = self._held(given)
        until_s = yield from self._verified(held, given)
        once = 1 if given.unconfirmed else None
        secrets = {CREDENTIAL: self._text(given)} | {
            f"credential_{n}": Secret(f"credential_{n}", text) for n, text in enumerate(held.pieces())
        }
        key = given.keys.get(HOLDER)
        what = Presenting(held, key, self.disclose, given.variables, given.now_s)
        match self.use:
            case InHeader():
                return Credential(
                    secrets,
                    facts=given.variables,
                    expires_at_s=until_s,
                    max_uses=once,
                    token=CREDENTIAL,
                    keys=given.keys,
                )
            case InTokenRequest() as way:
                token = yield from by_token_request(way, what)
            case ForVerifier() as way:
                token = yield from by_verifier(way, what)
        ends_s = min(token.expires_at_s, until_s)
        secrets[TOKEN] = Secret(TOKEN, token.value)
        return Credential(
            secrets, facts=given.variables, expires_at_s=ends_s, max_uses=once, token=TOKEN, keys=given.keys
        )

    def _text(self, given: Ingredients) -> Secret:
        if self.secret is not None:
            return given.secrets[self.secret]
        if CREDENTIAL not in given.kept:
            denial = Denial("not_connected", "No credential has been received for this account.", by="credentials")
            raise MintFailedError(denial, retry_after_s=1)
        return Secret(CREDENTIAL, given.kept[CREDENTIAL])

    def _held(self, given: Ingredients) -> Held:
        try:
            return read(self._text(given).reveal().decode("ascii").strip(), self.format)
        except (BadTokenError, UnicodeDecodeError) as bad:
            raise MintFailedError(_refused(bad)) from None

    def _verified(self, held: Held, given: Ingredients) -> Minting[int]:
        demands = Demands(frozenset(self.types), self.issuers, given.keys.get(HOLDER), self.require_status, given.now_s)
        try:
            return (yield from checked(held, demands))
        except StatusUnknownError as unknown:
            if given.unconfirmed:
                return given.now_s + UNCONFIRMED_S
            raise status_unknown(unknown) from None
        except BadTokenError as bad:
            raise MintFailedError(_refused(bad)) from None
        except RevokedError:
            denial = Denial("credential_revoked", "The issuer has withdrawn this credential.", by="credentials")
            raise MintFailedError(denial) from None

    @override
    def prove(
        self, credential: Credential, head: RequestHead, body: bytes | None, moment: Moment
    ) -> Proving[Presented]:
        way = self.use
        if not isinstance(way, InHeader):
            return Presented(with_headers(head, {way.header: way.prefix + credential.text(TOKEN)}), body)
        nonce = random_nonce() if way.nonce == "random" else moment.learnt.get(NONCE)
        if nonce is None:  # the provider's challenge brings one; until then the agent's own header goes nowhere
            return Presented(without(head, way.header), body)
        held = read(credential.text(CREDENTIAL), self.format)
        presentation = yield from held.presented(
            held.permitted(self.disclose),
            credential.keys.get(HOLDER),
            audience=filled(way.audience, credential.facts),
            nonce=nonce,
            now_s=int(moment.now_s),
        )
        return Presented(with_headers(head, {way.header: way.template.replace("{presentation}", presentation)}), body)

    @override
    def learn(self, credential: Credential, head: RequestHead, response: ResponseHead, moment: Moment) -> Lesson:
        way = self.use
        if not isinstance(way, InHeader):
            again = response.status == UNAUTHORIZED and moment.attempt == 0
            return Lesson(again="mint") if again else NOTHING_LEARNT
        nonce = nonce_in(response.headers, way.nonce_header)
        if way.nonce == "random" or nonce is None:
            return NOTHING_LEARNT
        fresh = nonce != moment.learnt.get(NONCE) and response.status == UNAUTHORIZED and moment.attempt == 0
        return Lesson({NONCE: nonce}, again="prove" if fresh else "no")


def status_unknown(why: StatusUnknownError) -> MintFailedError:
    """What becomes of a credential whose status nobody can tell: it is not used, unless a person says yes.

    They are asked in the modes `reference` and `staging`; in `ga` the refusal stays.
    """
    detail = f"It cannot be told whether the credential still holds: {why}."
    return MintFailedError(replace(unusable(detail), in_doubt=True))


def without(head: RequestHead, header: str) -> RequestHead:
    """`head` without `header`."""
    return replace(head, headers=tuple(pair for pair in head.headers if pair[0] != header.lower()))


def _refused(bad: Exception) -> Denial:
    text = str(bad) if isinstance(bad, BadTokenError) else "it is not ASCII"
    return unusable(f"The credential is not used: {text}.")
