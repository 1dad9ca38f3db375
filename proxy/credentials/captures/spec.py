"""`capture:` of an operation: where in its reply fresh secrets stand, and what becomes of them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from proxy.credentials.kind import SecretName  # noqa: TC001  # pydantic needs it at run time
from proxy.documents import Strict

Pointer = Annotated[str, Field(pattern=r"^(/[^/]+)+$", max_length=256)]


class CaptureSpec(Strict):
    """A good reply (2xx) to this operation is held whole; its fresh secrets are stored, the agent gets stand-ins."""

    secrets: Annotated[dict[Pointer, SecretName], Field(min_length=1, max_length=16)] = Field(
        description="JSON pointer (RFC 6901) in the reply, or `/` and a form field's name, to the slot that it fills."
    )
    optional: tuple[Pointer, ...] = Field(default=(), description="Pointers that a good reply may lack.")
    unless: Pointer | None = Field(
        default=None, description="A reply that has this, and no secret, is passed on: providers that fail with a 200."
    )
    content_types: tuple[str, ...] = Field(
        default=("application/json",), description="Media types of a good reply; any other is withheld."
    )
    claims: dict[Pointer, tuple[str, ...]] = Field(
        default={}, description="JWTs whose named claims the agent reads: its stand-in is a JWT with these, unsigned."
    )
    grant: SecretName | None = Field(
        default=None, description="The credential whose grant the reply is, as at a login; none: new secrets."
    )

    @model_validator(mode="after")
    def _names_its_own(self) -> Self:
        if not set(self.optional) < self.secrets.keys():
            raise ValueError("optional names some, not all, of the pointers under secrets")
        if not self.claims.keys() <= self.secrets.keys():
            raise ValueError("claims names pointers that stand under secrets")
        return self
