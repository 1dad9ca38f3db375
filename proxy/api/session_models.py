"""The forms of the routes about logins."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxy.api.models import WHOLE, Form, Name
from proxy.documents import Strict
from proxy.model import Role  # noqa: TC001  # pydantic needs it at run time

Id = Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,32}$")]
Operator = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}/[A-Za-z0-9][A-Za-z0-9._@+|:=~-]{0,126}$")]
Visible = Annotated[str, Field(pattern=r"^[!-~]{1,1024}$")]


class LoginView(Form):
    """An OpenID provider where operators log in, and as which public client they ask it."""

    label: Name
    issuer: Visible
    client_id: Visible
    scope: Annotated[str, Field(pattern=r"^[ -z|~]{1,512}$")]
    redirect: Visible
    device: bool = Field(description="Whether the device flow is taken.")


class LoginsView(Form):
    """Where operators may log in."""

    logins: list[LoginView]


class NewSession(Strict):
    """An ID token to exchange for a session.

    Its nonce is BASE64URL(SHA-256(verifier, a zero byte, the Host of this very call)), without padding; one of the
    device flow has none.
    """

    id_token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,8192}$")]
    verifier: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43,128}$")]
    role: Annotated[Role, Field(strict=False)] | None = Field(default=None, description="A lesser role than yours.")
    ttl_s: Annotated[int, Field(ge=60, le=86_400), WHOLE] | None = Field(
        default=None, description="Seconds; the configured maximum unless said."
    )


class SessionToken(Form):
    """A new session. This is the only time that its token is shown."""

    id: Id
    name: Operator
    role: Annotated[Role, Field(strict=False)]
    token: Visible
    expires_at_ms: int


class SessionView(Form):
    """A login. Its token cannot be shown."""

    id: Id
    name: Operator
    role: Annotated[Role, Field(strict=False)] | None = Field(
        description="What it gives now; null: nothing, it is over or its role is gone."
    )
    tenant: str | None
    created_at_ms: int
    expires_at_ms: int
    current: bool = Field(description="The one that asks.")


class SessionsView(Form):
    """Logins, the newest first."""

    sessions: list[SessionView]
