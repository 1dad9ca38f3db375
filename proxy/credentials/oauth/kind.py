"""`kind: oauth`: an access token from a token endpoint, put on each request. See docs/credentials/oauth.md."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final, override

from proxy.credentials.header import with_headers
from proxy.credentials.kind import Credential, MintFailedError, Presented, filled
from proxy.credentials.oauth import dpop, forms, lessons
from proxy.credentials.oauth.binding import binding_fault, subject
from proxy.credentials.oauth.introspection import introspected
from proxy.credentials.oauth.metadata import authorization_server
from proxy.credentials.oauth.reply import TokenRefusedError, failed, read_reply, refused
from proxy.credentials.oauth.request import Question, ask
from proxy.credentials.oauth.resource import resource_takes
from proxy.credentials.oauth.spec import OAuthSpec
from proxy.credentials.oauth.state import Kept
from proxy.credentials.oauth.traits import ACCESS_TOKEN
from proxy.errors import Denial
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from proxy.credentials.kind import Ingredients, Lesson, Minting, Moment, Proving
    from proxy.credentials.oauth.reply import TokenReply
    from proxy.credentials.oauth.request import Fields
    from proxy.model import RequestHead, ResponseHead

NOT_CONNECTED_S: Final = 5
"""How long nobody looks again whether somebody has connected the account."""
N_A: Final = "n_a"
ADVICE: Final = {
    "invalid_client": "The authorization server does not accept this client.",
    "unauthorized_client": "The authorization server does not let this client use this grant.",
    "invalid_scope": "The authorization server does not grant this scope.",
    "invalid_target": "The authorization server does not know this resource or audience.",
    "invalid_grant": "The authorization server does not accept this grant.",
    "unsupported_grant_type": "The authorization server does not know this grant.",
}
"""What an error code means, in our words (RFC 6749, section 5.2; RFC 8707, section 2)."""


class OAuthCredential(OAuthSpec):
    """Mints at a token endpoint, keeps the result sealed for every process, presents it as Bearer or with a proof."""

    mints: ClassVar[bool] = True
    durable: ClassVar[bool] = True
    retries: ClassVar[int] = 2

    # -- minting -------------------------------------------------------------------------------------------------

    @override
    def mint(self, given: Ingredients) -> Minting[Credential]:
        state = self._state(given)
        if self.refreshes and not state.refresh_token:
            raise not_connected()  # before anybody is asked anything
        url, issuer = yield from self._place(given)
        fields = yield from self._fields(given, state, issuer or url)
        question = Question(
            url=url,
            fields=fields,
            client=self.client,
            client_id=self._client_id(given, state),
            audience=filled(self.client.audience or issuer or url, given.variables),
            format=self.format,
            headers={name: filled(value, given.variables) for name, value in self.headers.items()},
            certificate=self.certificate,
            proves=self.sender == "dpop",
            nonce=state.nonce or None,
            uses_up=self._used_up(state, given.now_s),
        )
        reply, nonce = yield from ask(question, given)
        try:
            token = read_reply(reply, given.now_s)
        except TokenRefusedError as error:
            raise self._refusal(error) from None
        state = replace(state, nonce=nonce or "")
        try:
            minted = self._minted(given, state, token)
            yield from introspected(self, question, token.access_token, given)
        except MintFailedError as error:
            error.keep = self._saved(state, token)
            raise
        return minted

    def _saved(self, state: Kept, token: TokenReply) -> Mapping[str, str] | None:
        """What to store where the access token must not be used: a refresh token that has replaced the one at hand."""
        if not self.refreshes or token.refresh_token is None:
            return None
        return replace(state, refresh_token=token.refresh_token, access_token="").written()

    def _state(self, given: Ingredients) -> Kept:
        """What was kept, as far as it is about the same thing; a refresh token of the secret store comes before it."""
        kept = Kept.read(given.kept)
        issuer = self.issued_by(given.variables)
        if kept.issuer != issuer:
            kept = Kept(issuer=issuer)
        began_with = self._began_with(given)
        if began_with and kept.seed != (seed := hashlib.sha256(began_with).hexdigest()):
            first = began_with.decode("latin-1") if self.grant == "refresh_token" else ""
            kept = Kept(refresh_token=first, issuer=issuer, seed=seed)
        return kept

    def _began_with(self, given: Ingredients) -> bytes:
        """Whoever the tokens are for, where a secret says that; empty where it does not.

        Tokens that were exchanged for somebody else's are not taken over, not even for the rest of their life.
        """
        if self.grant == "refresh_token":
            return given.secrets[self.refresh_token].reveal().strip()
        exchanged = (self.exchange.subject_token, self.exchange.actor_token) if self.exchange is not None else ()
        names = exchanged or ((self.assertion.secret,) if self.grant == "jwt_bearer" else ())
        return b"\0".join(subject(given.secrets[name].reveal().strip()) for name in names if name is not None)

    def _place(self, given: Ingredients) -> Minting[tuple[str, str]]:
        """The token endpoint, and the issuer where one is known."""
        issuer = filled(self.issuer or "", given.variables)
        if self.protected_resource is not None:
            yield from resource_takes(filled(self.protected_resource, given.variables), issuer, self.sender)
        if self.token_endpoint is not None:
            return filled(self.token_endpoint, given.variables), issuer
        server = yield from authorization_server(issuer)
        certificate = self.certificate is not None
        url = server.for_certificate("token_endpoint") if certificate else server.token_endpoint
        if url is None or not self.may_name(url, issuer):
            raise failed("The authorization server's metadata names no token endpoint that this profile allows.")
        return url, issuer

    def _fields(self, given: Ingredients, state: Kept, audience: str) -> Minting[Fields]:
        """The parameters of the request, but for the client's authentication."""
        fields: dict[str, JsonValue] = {}
        scope: str | None = filled(self.scope, given.variables)
        if self.grant == "client_credentials":
            fields["grant_type"] = "client_credentials"
        elif self.grant == "jwt_bearer":
            fields |= yield from forms.jwt_bearer(self.assertion, audience, given)
        elif self.exchange is not None:
            fields |= forms.token_exchange(self.exchange, given)
        else:
            fields |= {"grant_type": "refresh_token", "refresh_token": state.refresh_token}
            scope = forms.scope_to_ask(scope or "", state.scope)
        if scope:
            fields["scope"] = scope
        if self.resource:
            fields["resource"] = [filled(one, given.variables) for one in self.resource]
        if self.audience is not None:
            fields["audience"] = filled(self.audience, given.variables)
        if self.authorization_details:
            fields["authorization_details"] = [dict(one) for one in self.authorization_details]
        return fields | {name: filled(value, given.variables) for name, value in self.parameters.items()}

    def _client_id(self, given: Ingredients, state: Kept) -> str:
        return state.client_id or filled(self.client.id, given.variables)

    def _used_up(self, state: Kept, now_s: int) -> dict[str, str]:
        """For the journal: which refresh token this may use up. A hash is enough to know it again."""
        if not self.refreshes or not self.refresh.rotates:
            return {}
        return {"refresh_token": hashlib.sha256(state.refresh_token.encode()).hexdigest(), "at_s": str(now_s)}

    def _refusal(self, error: TokenRefusedError) -> MintFailedError:
        """What an error code means for the account; its text stays here."""
        if self.refreshes and error.code in self.refresh.revoked_by:
            detail = "The provider does not accept this account's refresh token any more."
            return MintFailedError(Denial("credential_revoked", detail, by="credentials"), forget=True)
        detail = ADVICE.get(error.code, error.denial.detail)
        return failed(detail, retry_after_s=error.retry_after_s, nothing_done=error.nothing_done)

    # -- what came back ------------------------------------------------------------------------------------------

    def _minted(self, given: Ingredients, state: Kept, token: TokenReply) -> Credential:
        """The credential, after everything that was asked for was compared with what was given."""
        self._check(given, token)
        lifetime_s = token.expires_in_s or self.assumed_lifetime_s
        refresh_token = token.refresh_token if self.refreshes else None
        if refresh_token is None and self.refreshes and not self.refresh.single_use:
            refresh_token = state.refresh_token
        kept = replace(
            state,
            access_token=token.access_token,
            refresh_token=refresh_token or "",
            expires_at_s=str(given.now_s + lifetime_s),
            refresh_at_s=str(given.now_s + lifetime_s - self._early_s(lifetime_s)),
            scope=self._granted(given, state, token),
            token_type=token.token_type,
            made_for=self.asked_for(given.variables, self._jkt(given)),
            jkt=self._jkt(given),
        )
        credential = self._credential(given, kept)
        others = ((f"further token {number}", value) for number, value in enumerate(token.others, 1))
        seen = {name: Secret(name, value) for name, value in others}
        if token.refresh_token is not None:
            seen["refresh_token"] = Secret("refresh_token", token.refresh_token)
        return replace(credential, secrets={**seen, **credential.secrets}, keep=kept.written())

    def connected(self, given: Ingredients, token: TokenReply, nonce: str | None) -> Credential:
        """The credential that a person's consent gave, checked as every mint checks one.

        A token without refresh token and without `expires_in` serves until the provider refuses it: there is nothing to
        be done about its end.
        """
        state = Kept(
            issuer=self.issued_by(given.variables), scope=filled(self.scope, given.variables), nonce=nonce or ""
        )
        credential = self._minted(given, state, token)
        kept = Kept.read(credential.keep or {})
        if token.expires_in_s is None and not kept.refresh_token:
            kept = replace(kept, expires_at_s="")
        return replace(self._credential(given, kept), secrets=credential.secrets, keep=kept.written())

    def _granted(self, given: Ingredients, state: Kept, token: TokenReply) -> str:
        """The scope that counts from now on: what the reply says, else what was asked for or granted before."""
        if token.scope is not None:
            return token.scope
        return state.scope if self.refreshes else filled(self.scope, given.variables)

    def _check(self, given: Ingredients, token: TokenReply) -> None:
        exchanged = self.exchange is not None
        if exchanged and token.issued_token_type is None:
            raise failed("The authorization server does not say what type of token it issued.")
        wanted = self.exchange.requested_token_type if self.exchange is not None else None
        if wanted is not None and token.issued_token_type != wanted:
            raise refused("The authorization server issued another type of token than was asked for.")
        not_access = exchanged and token.token_type == N_A and token.issued_token_type != ACCESS_TOKEN
        if not (not_access and self.prefix is not None) and token.token_type not in self.accepted_types:
            raise failed("The authorization server issued a token of a type that this profile does not take.")
        if (fault := forms.details_fault(self.authorization_details, token.details)) is not None:
            raise refused(fault)
        if (fault := binding_fault(self.sender, token.access_token, given.keys)) is not None:
            raise refused(fault)

    def _early_s(self, lifetime_s: int) -> int:
        """How long before its end a token is refreshed: never before half of its life."""
        return min(self.refresh.margin_s + secrets.randbelow(self.refresh.jitter_s + 1), lifetime_s // 2)

    def _jkt(self, given: Ingredients) -> str:
        return given.keys[dpop.KEY].thumbprint if self.sender == "dpop" else ""

    def _credential(self, given: Ingredients, kept: Kept) -> Credential:
        """What is kept, as a credential; its last moments are not used."""
        found = {"access_token": Secret("access_token", kept.access_token)}
        if kept.refresh_token:
            found["refresh_token"] = Secret("refresh_token", kept.refresh_token)
        end_s = kept.ends_at_s
        left_s = end_s - given.now_s if end_s is not None else 0
        return Credential(
            secrets=found,
            facts={"scope": kept.scope, "token_type": kept.token_type},
            expires_at_s=end_s - min(SKEW_S, left_s // 5) if end_s is not None else None,
            refresh_at_s=kept.due_at_s(self.refresh.margin_s),
            token="access_token",  # noqa: S106  # the name of a secret
            keys={dpop.KEY: given.keys[dpop.KEY]} if self.sender == "dpop" else {},
        )

    # -- what was kept -------------------------------------------------------------------------------------------

    @override
    def restore(self, given: Ingredients) -> Credential | None:
        kept = self._state(given)
        mine = kept.made_for in ("", self.asked_for(given.variables, self._jkt(given)))
        bound = kept.jkt in ("", self._jkt(given))
        fits = kept.token_type.lower() in self.accepted_types | {N_A}
        if not kept.access_token or not (mine and bound and fits):
            return None
        if kept.ends_at_s is None and kept.refresh_token:
            return None
        if given.interrupted is not None and self.refresh.reuse_leeway_s:
            return None  # what replaced the refresh token is lost, and for a moment the old one is still taken
        restored = self._credential(given, kept)
        # Where there is no such moment, what is at hand serves to its end: to refresh may end the whole grant.
        return restored if given.interrupted is None else replace(restored, refresh_at_s=None)

    @override
    def kept_secrets(self, kept: Mapping[str, str]) -> Mapping[str, Secret]:
        return {name: Secret(name, kept[name]) for name in ("access_token", "refresh_token") if kept.get(name)}

    # -- presenting ----------------------------------------------------------------------------------------------

    @override
    def prove(
        self, credential: Credential, head: RequestHead, body: bytes | None, moment: Moment
    ) -> Proving[Presented]:
        token = credential.text("access_token")
        if self.sender != "dpop":
            prefix = "Bearer " if self.prefix is None else self.prefix
            return Presented(with_headers(head, {self.header: prefix + token}), body)
        proven = dpop.Proven(
            method=head.method,
            url=dpop.target_uri(head.scheme, head.authority, head.path),
            now_s=int(moment.now_s),
            token=token,
            nonce=moment.learnt.get(lessons.NONCE),
        )
        made = yield from dpop.proof(credential.keys[dpop.KEY], proven)
        return Presented(with_headers(head, {self.header: f"DPoP {token}", dpop.PROOF_HEADER: made}), body)

    @override
    def learn(self, credential: Credential, head: RequestHead, response: ResponseHead, moment: Moment) -> Lesson:
        return lessons.lesson(head, response, attempt=moment.attempt, proves=self.sender == "dpop")

    @override
    def withheld_headers(self) -> frozenset[str]:
        return frozenset({dpop.NONCE_HEADER} if self.sender == "dpop" else ())


SKEW_S: Final = 10
"""Clocks differ, and a request takes its time."""


def not_connected() -> MintFailedError:
    """Nobody has connected the account, or nothing is left of the connection."""
    detail = "The account is not connected to its provider, or the connection has ended."
    return MintFailedError(Denial("not_connected", detail, by="credentials"), retry_after_s=NOT_CONNECTED_S)
