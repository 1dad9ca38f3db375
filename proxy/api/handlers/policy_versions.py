"""/policies/versions, /policies/rollback and /policies/rollout."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from proxy.api.problems import ProblemError
from proxy.api.version_models import (
    MAX_NUMBER,
    DifferenceQuery,
    DifferenceView,
    RollbackRequest,
    RollbackView,
    RolloutChange,
    RolloutQuery,
    RolloutView,
    VersionDetail,
    VersionFile,
    VersionsQuery,
    VersionsView,
    VersionView,
)
from proxy.api.version_views import difference_view, rolled_back, stage_view, version_view
from proxy.catalog.configuration import Configuration
from proxy.catalog.pinning import names_of
from proxy.db.threads import in_thread
from proxy.enforcing import BusyError, OtherWaitsError
from proxy.errors import BriefcaseError, ConfigError
from proxy.policy_change import WaitingError
from proxy.policy_comparison import comparison_of
from proxy.policy_standing import UnfitError, Wish
from proxy.receipts import queries
from proxy.trial.staging import stage_of

if TYPE_CHECKING:
    from proxy.api.call import Call
    from proxy.enforcing import Enforcing
    from proxy.model import Operator
    from proxy.policy_versions import PolicyVersions, Version

_log: Final = logging.getLogger("proxy.api")
_UID: Final = "uid:"
_CONFLICTS: Final[tuple[tuple[type[BriefcaseError], str], ...]] = (
    (BusyError, "A reload is under way."),
    (OtherWaitsError, "It allows more than what is in force, and another version waits for a confirmation already."),
    (UnfitError, "That version does not fit the configuration in force."),
)


async def list_(call: Call) -> VersionsView:
    """Every set that was wanted, the newest first."""
    asked, enforcing = call.asked(VersionsQuery), call.services.enforcing
    if enforcing is None:
        return VersionsView(versions=[])
    return VersionsView(versions=await in_thread(_page, enforcing.versions, asked))


async def show(call: Call) -> VersionDetail:
    """One of them, as it was written."""
    return await in_thread(_detail, _enforcing(call), call.names["number"])


async def difference(call: Call) -> DifferenceView:
    """What changed from one to another: one comparison at a time, beside what the sidecar is for."""
    to = call.asked(DifferenceQuery).to
    return await in_thread(_difference, call, call.names["number"], to)


async def rollback(call: Call) -> RollbackView:
    """Put an earlier set in force until the files change, or have it wait where it allows more (I-05)."""
    asked, operator = call.sent(RollbackRequest), call.operator
    call.require_all_tenants()
    enforcing = _enforcing(call)
    found = await in_thread(_found, enforcing, str(asked.version))
    target = f"version {found.number}"
    await call.record("policies_rollback", target, digest=found.digest, reason=asked.reason)
    wish = Wish(found.number, operator.name, behind(operator), asked.reason)
    try:
        return rolled_back(await call.services.roll_back(wish), asked.version)
    except WaitingError as waiting:
        return rolled_back(waiting.version, asked.version)
    except BriefcaseError as error:
        problem = _problem(error)
        await call.record("policies_rollback", target, refused=problem.problem.slug)
        raise problem from None


async def rollout(call: Call) -> RolloutView:
    """For whom a candidate decides, and what it would change for the others."""
    asked, services, operator = call.asked(RolloutQuery), call.services, call.operator
    candidate = services.generation().rollout
    if candidate is None:
        return RolloutView(version=None, stage=None, decides_for=[], not_for=[], changes=[])
    calls = await in_thread(
        queries.recent,
        services.database,
        limit=asked.limit,
        candidate=True,
        since_ms=asked.since_ms,
        tenant=operator.tenant,
    )
    agents = call.agents()
    stage = stage_of(candidate, agents, (one.decision for one in calls))
    return RolloutView(
        version=candidate.candidate.version,
        stage=stage_view(candidate, agents, whole=operator.tenant is None),
        decides_for=list(stage.decides_for),
        not_for=list(stage.not_for),
        changes=[
            RolloutChange(
                agent=one.agent, operation=one.operation, was=one.was, candidate=one.candidate, calls=one.calls
            )
            for one in stage.changes
        ],
    )


def behind(operator: Operator) -> tuple[str, ...]:
    """Every name by which this operator may be known, none of which confirms what they want."""
    local = names_of(int(operator.via.removeprefix(_UID))) if operator.via.startswith(_UID) else ()
    return (operator.name, *([operator.user] if operator.user is not None else []), *local)


def _enforcing(call: Call) -> Enforcing:
    if call.services.enforcing is None:
        raise ProblemError("not_found", "This sidecar keeps no versions of its policies.")
    return call.services.enforcing


def _page(versions: PolicyVersions, asked: VersionsQuery) -> list[VersionView]:
    ends = versions.newest(in_force=True), versions.waiting()
    return [version_view(version, *ends) for version in versions.page(asked.limit, asked.before)]


def _detail(enforcing: Enforcing, number: str) -> VersionDetail:
    version, versions = _found(enforcing, number), enforcing.versions
    texts = [VersionFile(file=name, text=text) for name, text in version.sources]
    return VersionDetail(version=version_view(version, versions.newest(in_force=True), versions.waiting()), texts=texts)


def _found(enforcing: Enforcing, number: str) -> Version:
    """The version of this number. Raises `ProblemError`."""
    known = number.isascii() and number.isdecimal() and len(number) <= len(str(MAX_NUMBER))
    found = enforcing.versions.one(int(number)) if known and int(number) <= MAX_NUMBER else None
    if found is None:
        raise ProblemError("not_found", "There is no such version.")
    return found


def _difference(call: Call, number: str, to: int | None) -> DifferenceView:
    enforcing, services = _enforcing(call), call.services
    before = _found(enforcing, number)
    after = enforcing.versions.newest(in_force=True) if to is None else _found(enforcing, str(to))
    if after is None:
        raise ProblemError("not_found", "No version is in force.")
    if not enforcing.comparing.acquire(blocking=False):
        raise ProblemError("throttled", "Versions are being compared already.", retry_after_s=5)
    try:
        generation = services.generation()
        configuration = Configuration(generation.settings, generation.catalog.profiles)
        agents, now_ms = call.agents(), services.clock.wall_ms()
        work = comparison_of(before.sources, after.sources, configuration, agents, now_ms=now_ms)
        return difference_view(asyncio.run(work))
    except ConfigError:
        raise ProblemError("conflict", "A version does not fit the profiles in force.") from None
    finally:
        enforcing.comparing.release()


def _problem(error: BriefcaseError) -> ProblemError:
    for kind, text in _CONFLICTS:
        if isinstance(error, kind):
            return ProblemError("conflict", text)
    _log.error("a rollback failed: %s", error)
    return ProblemError("unavailable", "The version could not be put in force; the log says why.", retry_after_s=5)
