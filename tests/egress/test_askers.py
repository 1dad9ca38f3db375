"""P7: threads that ask for names are shared out, and what nobody waits for any more is not asked."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from proxy.egress.askers import MANY, Askers

if TYPE_CHECKING:
    from collections.abc import Iterator


class Held:
    """Answers questions once they are let go; notes those that were asked."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked: list[str] = []

    def __call__(self, question: str) -> str:
        self.asked.append(question)
        assert self.let_go.wait(10)
        if question == "bad":
            raise OSError
        return question.upper()


@pytest.fixture
def held() -> Iterator[Held]:
    one = Held()
    yield one
    one.let_go.set()


def until(held: Held, count: int) -> None:
    end_s = time.monotonic() + 5
    while len(held.asked) < count and time.monotonic() < end_s:
        time.sleep(0.005)
    time.sleep(0.02)
    assert len(held.asked) == count


def test_p7_an_agent_has_its_share_and_others_theirs(held: Held) -> None:
    askers = Askers(held, threads=4, each=2, name="test")
    futures = [askers.ask(f"{agent}{n}", agent) for agent in ("a", "b", "c") for n in range(3)]
    until(held, 4)
    assert sorted(held.asked) == ["a0", "a1", "b0", "b1"]
    held.let_go.set()
    assert [one.result(5) for one in futures] == [f"{agent}{n}" for agent in ("A", "B", "C") for n in range(3)]
    assert askers._busy.total() in (0, 1)  # the last thread may be on its way out
    assert askers._waiting == {}


def test_p7_what_is_cancelled_is_not_asked_and_not_kept(held: Held) -> None:
    askers = Askers(held, threads=4, each=1, name="test")
    first = askers.ask("first", "a")
    for n in range(10 * MANY):
        assert askers.ask(str(n), "a").cancel()
    assert len(askers._waiting["a"]) <= MANY
    last = askers.ask("bad", "a")
    held.let_go.set()
    assert first.result(5) == "FIRST"
    with pytest.raises(OSError):
        last.result(5)
    assert held.asked == ["first", "bad"]


def test_p7_where_the_machine_has_no_thread_left_the_place_is_kept(held: Held) -> None:
    held.let_go.set()
    askers = Askers(held, threads=1, each=1, name="test")
    before = threading.stack_size(1 << 47)  # more than there are addresses
    try:
        futures = [askers.ask(str(n), "a") for n in range(3)]
    finally:
        threading.stack_size(before)
    for one in futures:
        with pytest.raises(OSError, match="thread"):
            one.result(5)
    assert askers.ask("later", "a").result(5) == "LATER"
