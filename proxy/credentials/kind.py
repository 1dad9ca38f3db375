"""What every credential kind is made of: the YAML's base class, the minted credential, the presented request. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field

from proxy.documents import Strict
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.model import RequestHead
    from proxy.secret import Secret

SecretName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$")]
PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_-]*)\}")
_HEADER_SAFE: Final = re.compile(r"[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")


@dataclass(frozen=True, slots=True)
class Credential:
    """What `present` works from: the values of the secrets that the kind names."""

    secrets: Mapping[str, Secret] = field(repr=False)

    def text(self, name: str) -> str:
        """The secret's value, fit for a header.

        Raises:
            Refused: `credential_unavailable`; the value has control characters or spaces at its ends.
        """
        value = self.secrets[name].reveal().decode("latin-1")
        if not _HEADER_SAFE.fullmatch(value):
            raise Refused(unusable("The secret has characters that cannot be sent."))
        return value

    def filled(self, template: str) -> str:
        """`template` with every `{name}` replaced by that secret, in a single pass."""
        return PLACEHOLDER.sub(lambda found: self.text(found[1]), template)


@dataclass(frozen=True, slots=True)
class Presented:
    """The request as it leaves."""

    head: RequestHead
    body: bytes | None


class Kind(Strict):
    """A credential kind: its fields are the YAML, its methods the behaviour.

    `secret_names` says what it needs; `present` is pure and puts the credential into one request.
    """

    needs_body: ClassVar[bool] = False
    opt_in: ClassVar[bool] = False
    """Used only where an operation names it."""

    def secret_names(self) -> frozenset[str]:
        """The secrets it takes, by slot name."""
        return frozenset()

    def present(self, credential: Credential, head: RequestHead, body: bytes | None) -> Presented:
        """`head` and `body` with the credential in its place, and nowhere else.

        Raises:
            Refused: the credential cannot be put there.
        """
        del credential
        return Presented(head, body)


def named_in(*templates: str) -> frozenset[str]:
    """The secrets that templates name."""
    return frozenset(name for template in templates for name in PLACEHOLDER.findall(template))


def unusable(detail: str) -> Denial:
    """The refusal for a credential that cannot be used."""
    return Denial("credential_unavailable", detail, by="credentials")
