"""What a reply says about a way. Pure.

Every attempt is made a second time towards a control: an address that is set apart for documentation, where nobody is.
Where the control replies as the target does, something between replies for everybody: a firewall that resets, or a
listener that captures. Then the reply does not show that anything got out.

Source: RFC 5737; RFC 3849.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.confine.probe.ways import Seen, State

if TYPE_CHECKING:
    from proxy.confine.probe.reply import Reply

OURS: Final = b"proxy-status: briefcased"
type Judged = tuple[State, Seen]


def judge(target: Reply, control: Reply, *, known: bool) -> Judged:
    """Whether the reply shows that packets get out. `known`: the target answers, so silence is closed."""
    same = target.seen is control.seen
    match target.seen:
        case Seen.CONNECTED | Seen.ANSWERED:
            return captured(target.data, control.data) if same else (State.OPEN, target.seen)
        case Seen.REFUSED_BY_PEER:
            return (State.CLOSED, Seen.REJECTED) if same else (State.OPEN, target.seen)
        case Seen.UNREACHABLE_OUTSIDE:
            return State.UNKNOWN, target.seen
        case Seen.TIMEOUT:
            return (State.CLOSED, Seen.TIMEOUT) if known else (State.UNKNOWN, Seen.SILENCE)
        case _:
            return State.CLOSED, target.seen


def captured(target: bytes, control: bytes) -> Judged:
    """Something answers for everybody: open only where the target's bytes come from the target."""
    if not target or target == control or OURS in target.lower():
        return State.CLOSED, Seen.CAPTURED
    return (State.OPEN, Seen.ANSWERED) if not control else (State.UNKNOWN, Seen.CAPTURED)


def through_proxy(answer: bytes) -> Judged:
    """What the sidecar's answer to a request for somewhere else says; `answer` begins with a status line, or is empty.

    Only a refusal that the sidecar marks as its own is closed; 407 and 429 come before it looks at the destination, and
    5xx may mean that it tried.
    """
    if not answer:
        return State.UNKNOWN, Seen.SILENCE
    status = (answer.split(b" ", 2)[1:2] or [b""])[0]
    if status.startswith(b"2"):
        return State.OPEN, Seen.CONNECTED
    if status == b"407":
        return State.UNKNOWN, Seen.NO_TOKEN
    refused = status.startswith(b"4") and status != b"429" and OURS in answer.lower()
    return (State.CLOSED if refused else State.UNKNOWN), Seen.REFUSED_BY_PROXY


def judge_dns(target: Reply, control: Reply, *, known: bool) -> Judged:
    """As `judge`, but a resolver that knows the root servers carries names out, whoever it is."""
    if target.seen is Seen.ANSWERED and resolves(target.data):
        return State.OPEN, Seen.ANSWERED
    return judge(target, control, known=known)


def resolves(answer: bytes) -> bool:
    """Whether a DNS message is an answer without error that holds a record (RFC 1035, section 4.1.1)."""
    return len(answer) >= 12 and answer[2] & 0x80 != 0 and answer[3] & 0x0F == 0 and answer[6:8] != b"\0\0"  # noqa: PLR2004
