"""The block `operators:` of `briefcased.yaml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxy.documents import Strict
from proxy.model import Role  # noqa: TC001  # pydantic needs it at run time


class LocalOperator(Strict):
    """Who a user of this machine is at `listeners.admin`."""

    uid: Annotated[int, Field(ge=0)]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
    role: Annotated[Role, Field(strict=False)]
    tenant: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")] | None = Field(
        default=None, description="The only tenant that they see and change; absent: all."
    )


class OperatorSettings(Strict):
    """Who administers the sidecar, besides those of `briefcased operators add`."""

    local: tuple[LocalOperator, ...] = Field(
        default=(),
        description="Users of this machine, by user id; absent: the sidecar's own user is `local`, an admin.",
    )
    hosts: tuple[Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,253}(:\d{1,5})?$")], ...] = Field(
        default=(), description="Further values of Host under which listeners.api is asked, as HOST or HOST:PORT."
    )
