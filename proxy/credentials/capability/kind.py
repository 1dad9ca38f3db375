"""`kind: capability`: a short-lived token with caveats, minted by the provider. See docs/credentials/capability.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, Self, cast, override
from urllib.parse import urlsplit

import orjson
from pydantic import Field, JsonValue, field_validator, model_validator

from proxy.canonical import parse_authority
from proxy.credentials.basic import BasicCredential
from proxy.credentials.capability.caveats import Demands, caveats_of
from proxy.credentials.cookie import CookieCredential
from proxy.credentials.header import HeaderCredential, with_headers
from proxy.credentials.kind import (
    Call,
    Credential,
    HeaderName,
    Kind,
    Lesson,
    MintFailedError,
    Moment,
    Presented,
    call,
    filled,
    named_in,
    unusable,
)
from proxy.credentials.oauth import OAuthCredential, dpop
from proxy.credentials.oauth.challenges import challenged
from proxy.credentials.oauth.lessons import NONCE, lesson
from proxy.credentials.query import QueryCredential
from proxy.credentials.vc import replies
from proxy.credentials.vc.jose import BadTokenError, keys_in
from proxy.credentials.vc.kind import VcCredential
from proxy.credentials.vc.ways import HttpsUrl, Pointer  # noqa: TC001  # pydantic needs them at run time
from proxy.documents import Strict
from proxy.errors import Denial, Refused
from proxy.model import HTTPS_PORT, RequestHead, ResponseHead
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Ingredients, Minting, Proving, Reply

TOKEN: Final = "capability"  # noqa: S105  # a name
ID: Final = "jti"
REVOKED: Final = "revoked"
NO_TOKEN: Final = "The mint endpoint gave no capability."  # noqa: S105  # a sentence
MARGIN_S: Final = 5
Using = Annotated[
    HeaderCredential | BasicCredential | QueryCredential | CookieCredential | OAuthCredential | VcCredential,
    Field(discriminator="kind"),
]


class Refusal(Strict):
    """What a refusal of the provider means: `error` of `WWW-Authenticate`, or the value of `error_header`."""

    status: Annotated[int, Field(ge=400, le=499)]
    error: str = Field(min_length=1, max_length=128)
    means: Literal["exhausted", "expired", "replayed", "revoked"]


class CapabilityCredential(Kind):
    """A token that the provider mints for one of the account's other credentials."""

    kind: Literal["capability"]
    endpoint: HttpsUrl = Field(description="POST mints a capability; with {variable}.")
    using: Using = Field(description="The credential that is shown to the endpoint.")
    request: dict[str, JsonValue] = Field(default={}, description="JSON body; texts with {variable}.")
    token_pointer: Pointer = "/token"  # noqa: S105  # a JSON pointer
    scope: tuple[str, ...] = Field(default=(), description="What the token must be for, at least.")
    audience: str | None = Field(default=None, description="What its `aud` must be, or hold; with {variable}.")
    scope_claim: str = "scope"
    max_calls_claim: str = "max_calls"
    jwks: dict[str, JsonValue] | None = Field(
        default=None, description="Keys of which one must have signed it; none: that is the provider's business."
    )
    sender: Literal["bearer", "dpop"] = Field(default="bearer", description="`dpop`: bound to our key (`cnf.jkt`).")
    algorithm: Literal["ES256", "ES384", "Ed25519"] = "ES256"
    header: HeaderName = "Authorization"
    prefix: str = Field(default="Bearer ", description="With `dpop` it is `DPoP `.")
    error_header: HeaderName | None = Field(default=None, description="Where refusals say why; else WWW-Authenticate.")
    refusals: tuple[Refusal, ...] = ()

    mints: ClassVar[bool] = True
    durable: ClassVar[bool] = True  # what `using` keeps must survive
    retries: ClassVar[int] = 2

    @field_validator("jwks")
    @classmethod
    def _keys(cls, jwks: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        try:
            if jwks is not None:
                keys_in(jwks)
        except BadTokenError:
            raise ValueError("this is no key set") from None
        return jwks

    @model_validator(mode="after")
    def _can_be_used_inside(self) -> Self:
        received = isinstance(self.using, VcCredential) and self.using.secret is None
        by_a_person = isinstance(self.using, OAuthCredential) and self.using.grant in (
            "authorization_code",
            "device_code",
        )
        if received or by_a_person:
            raise ValueError("using is a credential that needs nobody: a secret, or a grant without a person")
        return self

    @override
    def secret_names(self) -> frozenset[str]:
        return self.using.secret_names()

    @override
    def optional_secret_names(self) -> frozenset[str]:
        return self.using.optional_secret_names()

    @override
    def variable_names(self) -> frozenset[str]:
        return self.using.variable_names() | named_in(self.endpoint, self.audience or "", *_texts(self.request))

    @override
    def key_names(self) -> Mapping[str, str]:
        return {**self.using.key_names(), **({dpop.KEY: self.algorithm} if self.sender == "dpop" else {})}

    @override
    def endpoints(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        return (filled(self.endpoint, variables), *self.using.endpoints(variables))

    @override
    def kept_secrets(self, kept: Mapping[str, str]) -> Mapping[str, Secret]:
        return self.using.kept_secrets(kept)

    @override
    def withheld_headers(self) -> frozenset[str]:
        return frozenset({dpop.NONCE_HEADER}) if self.sender == "dpop" else frozenset()

    # -- minting -------------------------------------------------------------------------------------------------

    @override
    def mint(self, given: Ingredients) -> Minting[Credential]:
        restored = self.using.restore(given)
        serves = restored is not None and (restored.expires_at_s is None or restored.expires_at_s > given.now_s)
        own = restored if restored is not None and serves else (yield from self.using.mint(given))
        reply = yield from self._asked(own, given)
        told = replies.good_object(reply, given.now_s, NO_TOKEN)
        token = replies.token_at(told, self.token_pointer, NO_TOKEN)
        demands = Demands(
            now_s=given.now_s,
            scope=frozenset(self.scope),
            audience=filled(self.audience, given.variables) if self.audience is not None else None,
            thumbprint=given.keys[dpop.KEY].thumbprint if self.sender == "dpop" else None,
            keys=keys_in(self.jwks) if self.jwks is not None else None,
            claim={"scope": self.scope_claim, "max_calls": self.max_calls_claim},
        )
        try:
            caveats = caveats_of(token, demands)
        except BadTokenError as bad:
            raise MintFailedError(unusable(f"The capability is not used: {bad}.")) from None
        return Credential(
            {**own.secrets, TOKEN: Secret(TOKEN, token)},
            facts={ID: caveats.id},
            expires_at_s=max(caveats.expires_at_s - MARGIN_S, given.now_s + 1),
            max_uses=caveats.max_calls,
            token=TOKEN,
            keep=own.keep,
            keys=given.keys,
        )

    def _asked(self, own: Credential, given: Ingredients) -> Minting[Reply]:
        """The endpoint's answer, to a second question too where it challenges the credential that was shown."""
        body = orjson.dumps(_filled(self.request, given.variables))
        head = _head_of(filled(self.endpoint, given.variables))
        learnt: dict[str, str] = {}
        for attempt in (0, 1):
            moment = Moment(given.now_s, learnt, attempt)
            presented = yield from cast("Minting[Presented]", self.using.prove(own, head, body, moment))
            sent = presented.head
            query = "" if sent.query is None else f"?{sent.query}"
            url = dpop.target_uri(sent.scheme, sent.authority, sent.path) + query
            reply = yield from call(Call(sent.method, url, dict(sent.headers), presented.body or b""))
            answered = ResponseHead(reply.status, tuple(reply.headers.items()))
            taught = self.using.learn(own, sent, answered, moment)
            learnt.update(taught.facts)
            if attempt or taught.again != "prove":
                break
        return reply

    # -- presenting ----------------------------------------------------------------------------------------------

    @override
    def prove(
        self, credential: Credential, head: RequestHead, body: bytes | None, moment: Moment
    ) -> Proving[Presented]:
        if moment.learnt.get(REVOKED) == credential.facts[ID]:
            raise Refused(Denial("credential_revoked", "The provider has revoked this capability.", by="credentials"))
        token = credential.text(TOKEN)
        if self.sender == "bearer":
            return Presented(with_headers(head, {self.header: self.prefix + token}), body)
        proven = dpop.Proven(
            method=head.method,
            url=dpop.target_uri(head.scheme, head.authority, head.path),
            now_s=int(moment.now_s),
            token=token,
            nonce=moment.learnt.get(NONCE),
        )
        made = yield from dpop.proof(credential.keys[dpop.KEY], proven)
        return Presented(with_headers(head, {self.header: f"DPoP {token}", dpop.PROOF_HEADER: made}), body)

    @override
    def learn(self, credential: Credential, head: RequestHead, response: ResponseHead, moment: Moment) -> Lesson:
        taught = lesson(head, response, attempt=moment.attempt, proves=self.sender == "dpop")
        if taught.again == "prove" or response.status < 400:  # noqa: PLR2004  # RFC 9110, section 15.5
            return taught
        match self._meaning(response):
            case "revoked":
                notice = "the provider has revoked a capability; it is not used again"
                return Lesson({**taught.facts, REVOKED: credential.facts[ID]}, notice=notice)
            case "replayed":
                again: Literal["mint"] = "mint"
                return Lesson(taught.facts, again=again, notice="the provider says that a capability was replayed")
            case "exhausted" | "expired":
                return Lesson(taught.facts, again="mint")
            case None:
                return Lesson(taught.facts, notice=taught.notice)

    def _meaning(self, response: ResponseHead) -> Literal["exhausted", "expired", "replayed", "revoked"] | None:
        values = [
            value for name, value in response.headers if name == (self.error_header or "www-authenticate").lower()
        ]
        said = ", ".join(values)
        error = challenged(said, "error") if self.error_header is None else said.strip()
        for refusal in self.refusals:
            if (refusal.status, refusal.error) == (response.status, error):
                return refusal.means
        return None


def _head_of(url: str) -> RequestHead:
    """The request that is shown the other credential."""
    parts = urlsplit(url)
    authority = parse_authority(parts.netloc.encode("ascii"), HTTPS_PORT)
    if authority is None:
        raise MintFailedError(unusable("The mint endpoint is not an https URL."))
    path = parts.path or "/"
    headers = (("content-type", "application/json"), ("accept", "application/json"))
    return RequestHead(
        "POST", "https", authority, path, tuple(path[1:].split("/")), parts.query or None, headers, has_body=True
    )


def _texts(value: JsonValue) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return tuple(text for one in inner for text in _texts(one))


def _filled(value: JsonValue, variables: Mapping[str, str]) -> JsonValue:
    if isinstance(value, str):
        return filled(value, variables)
    if isinstance(value, dict):
        return {name: _filled(one, variables) for name, one in value.items()}
    return [_filled(one, variables) for one in value] if isinstance(value, list) else value
