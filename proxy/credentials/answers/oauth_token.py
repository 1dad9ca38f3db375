"""`kind: oauth_token`: the reply of an OAuth token endpoint (RFC 6749, section 5). See docs/token-calls.md."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Annotated, Final, Literal, override

import orjson
from pydantic import Field

from proxy.credentials.answers.kind import AnswerKind, json_answer
from proxy.credentials.kind import SecretName  # noqa: TC001  # pydantic needs it at run time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.answers.kind import Asked, Holder
    from proxy.errors import Answer

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""Source: RFC 7523, section 2.1."""
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  # a name
"""Source: RFC 8693, section 2.1."""
ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # a name
"""Source: RFC 8693, section 2.2.1."""


class OAuthTokenAnswer(AnswerKind):
    """A token reply whose tokens are the account's stand-ins. Proofs are not checked: nothing is given away."""

    kind: Literal["oauth_token"]
    grants: tuple[str, ...] = Field(
        default=("client_credentials", "refresh_token", JWT_BEARER, TOKEN_EXCHANGE),
        description="The grant types that are answered here.",
    )
    access_token: SecretName = "access_token"  # noqa: S105  # a slot
    refresh_token: SecretName | None = Field(
        default=None, description="Slot of the refresh token: given out, and asked for in `refresh_token` calls."
    )
    id_token: SecretName | None = None
    token_type: str = "Bearer"  # noqa: S105  # a scheme
    expires_in_s: Annotated[int, Field(ge=60, le=31_536_000)] = 3600
    issuer_variable: SecretName | None = Field(
        default=None, description="The account is the one whose variable of this name is the `iss` of the assertion."
    )

    @override
    def slots(self) -> frozenset[str]:
        return frozenset(slot for slot in (self.access_token, self.refresh_token, self.id_token) if slot)

    @override
    def variable_names(self) -> frozenset[str]:
        return frozenset({self.issuer_variable} if self.issuer_variable else ())

    @override
    def deciding(self) -> frozenset[str]:
        return frozenset({"grant_type", "refresh_token", "assertion"})

    @override
    def takes(self, fields: Mapping[str, str]) -> bool:
        return fields.get("grant_type") in self.grants

    @override
    def answer(self, asked: Asked) -> Answer | None:
        if not self.takes(asked.fields):
            return None
        grant = asked.fields["grant_type"]
        holder: Holder | None = asked.holder
        if self.issuer_variable is not None and "assertion" in asked.fields:
            holder = asked.holder_with(self.issuer_variable, issuer(asked.fields["assertion"]))
        if holder is None or not self._holds(asked, holder, grant) or self.access_token not in holder.stand_ins:
            # Source of the codes: RFC 6749, section 5.2.
            return json_answer({"error": "invalid_grant"}, status=400)
        return json_answer(self._reply(asked, holder))

    def _holds(self, asked: Asked, holder: Holder, grant: str) -> bool:
        """Whether the agent sends the refresh token that it was given."""
        if grant != "refresh_token" or self.refresh_token is None:
            return True
        given = asked.fields.get("refresh_token")
        return given is not None and given == holder.stand_ins.get(self.refresh_token)

    def _reply(self, asked: Asked, holder: Holder) -> dict[str, object]:
        tokens = {"access_token": self.access_token, "refresh_token": self.refresh_token, "id_token": self.id_token}
        reply: dict[str, object] = {
            name: holder.stand_ins[slot] for name, slot in tokens.items() if slot and slot in holder.stand_ins
        }
        reply |= {"token_type": self.token_type, "expires_in": self.expires_in_s}
        if asked.fields.get("scope"):
            reply["scope"] = asked.fields["scope"]
        if asked.fields.get("grant_type") == TOKEN_EXCHANGE:
            reply["issued_token_type"] = ACCESS_TOKEN_TYPE
        return reply


def issuer(assertion: str) -> str:
    """The `iss` that a JWT claims, without any check of it; empty where it claims none."""
    parts = assertion.split(".")
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = orjson.loads(base64.urlsafe_b64decode(padded))
        return str(claims["iss"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return ""
