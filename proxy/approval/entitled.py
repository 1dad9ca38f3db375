"""Who may decide. Pure.

An approver decides for another: never for the agent of the same name, nor for the user on whose behalf it acts, and
never for another tenant (J-10).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.model import Operator


class Unfit(StrEnum):
    """Why somebody may not decide."""

    AGENT = "an agent does not approve what it asks for"
    USER = "nobody approves what an agent asks for on their behalf"
    TENANT = "the approval belongs to another tenant"


def unfit(approver: Operator, *, tenant: str, agent: str, user: str | None) -> Unfit | None:
    """Why `approver` may not decide; None where they may."""
    if not approver.may_see(tenant):
        return Unfit.TENANT
    if approver.is_named(agent):
        return Unfit.AGENT
    if approver.may_be(user):
        return Unfit.USER
    return None
