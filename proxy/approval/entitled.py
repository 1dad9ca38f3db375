"""Who may decide. Pure.

An approver decides for another: never for the agent of the same name, nor, where two people are needed, for the user
on whose behalf it acts, and never for another tenant (J-10).
"""

from __future__ import annotations

from enum import StrEnum


class Unfit(StrEnum):
    """Why somebody may not decide."""

    AGENT = "an agent does not approve what it asks for"
    USER = "where two approvers are needed, the user whom the agent acts for is not one of them"
    TENANT = "the approval belongs to another tenant"


def unfit(
    approver: str, *, approver_tenant: str | None, tenant: str, agent: str, user: str | None, needs: int
) -> Unfit | None:
    """Why `approver` may not decide; None where they may. `approver_tenant` is None for one of the installation."""
    if approver_tenant is not None and approver_tenant != tenant:
        return Unfit.TENANT
    if approver == agent:
        return Unfit.AGENT
    if needs > 1 and approver == user:
        return Unfit.USER
    return None
