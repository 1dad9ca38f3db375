"""I-13: what asks for the time of day is refused once the clock has jumped, until it is right again or somebody looked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.clock import ClockWatch, SystemClock
from tests.control.conftest import POLICIES, controlled

if TYPE_CHECKING:
    from pathlib import Path

YEAR_MS = 365 * 86_400_000
TIMED = """
@id("reads") permit (principal, action == Action::"read", resource) when { context.hour >= 0 };
@id("free") permit (principal, action in [Action::"callWithoutApproval", Action::"callWithoutStrongApproval"], resource);
@id("deletes") permit (principal, action == Action::"write", resource);
"""


class Stepped(SystemClock):
    """The machine's clock, with a hand on it."""

    def __init__(self) -> None:
        self.by_ms = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.by_ms


@pytest.mark.parametrize(
    ("steps_ms", "jumped"),
    [
        ([0], [False]),
        ([1_500], [False]),
        ([1_500, 3_000, 4_500], [False, False, False]),  # slewed, not stepped
        ([2_500], [True]),
        ([-2_500], [True]),
        ([YEAR_MS, 0], [True, False]),
        ([-YEAR_MS, -YEAR_MS], [True, True]),
    ],
)
def test_a_step_of_two_seconds_is_a_jump(steps_ms: list[int], jumped: list[bool]) -> None:
    clock = Stepped()
    watch = ClockWatch(clock)
    found = []
    for step in steps_ms:
        clock.by_ms = step
        found.append(watch.jumped())
    assert found == jumped
    watch.accept()
    assert not watch.jumped()


@pytest.mark.parametrize("jump_ms", [YEAR_MS, -YEAR_MS])
async def test_a_jump_refuses_what_depends_on_it_and_nothing_else(tmp_path: Path, jump_ms: int) -> None:
    async with controlled(tmp_path, text=TIMED) as rig:
        assert (await rig.call("GET", "/x")).status == 200
        clock = Stepped()
        rig.sidecar.pipeline._weigher._watch = rig.sidecar._watch = ClockWatch(clock)  # type: ignore[misc]
        clock.by_ms = jump_ms
        before = len(rig.provider.requests)
        refused = await rig.call("GET", "/x")
        assert (refused.status, refused.problem) == (503, "policy_unavailable")
        assert len(rig.provider.requests) == before
        assert (await rig.call("POST", "/x")).status == 200  # no policy that bears on it asks for the time
        assert rig.sidecar.details()["clock"].startswith("jumped")
        await rig.sidecar.reload(rig.configuration)
        assert rig.sidecar.details()["clock"] == "steady"
        assert (await rig.call("GET", "/x")).status == 200
        assert await rig.problems() == ()


async def test_without_policies_that_ask_a_jump_is_no_matter(tmp_path: Path) -> None:
    async with controlled(tmp_path, text=POLICIES) as rig:
        clock = Stepped()
        rig.sidecar.pipeline._weigher._watch = ClockWatch(clock)  # type: ignore[misc]
        clock.by_ms = YEAR_MS
        assert (await rig.call("GET", "/x")).status == 200
