"""What approvers see in Slack: Block Kit, with text that nothing in it can style, link or hide. Pure.

The request stands in a preformatted block, which Slack shows as it is: fixed width, no markup, no mentions (J-04).
A button to approve stands there only where the whole request does (J-03), and where a click is enough.

Source: docs.slack.dev, "Block Kit", "Rich text block", "Formatting message text".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.approval.channels.event import fields
from proxy.approval.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.approval.channels.event import Event

MAX_SHOWN: Final = 2800
"""Characters of a request that are shown; below Slack's limit of 3,000 for a text."""
MAX_LINE: Final = 150
"""Characters of a header block."""
MAX_OPERATIONS: Final = 1000
"""Characters of the names of all operations of a batch."""
APPROVE: Final = "briefcased_approve"
REJECT: Final = "briefcased_reject"
WORDS: Final[Mapping[State, str]] = {
    State.PENDING: "waits for a decision",
    State.APPROVED: "approved",
    State.REJECTED: "rejected",
    State.EXPIRED: "over: nobody decided, or used it, in time",
    State.WITHDRAWN: "withdrawn: whoever asked went away",
    State.CONSUMED: "approved, and sent",
}


def message(event: Event) -> dict[str, object]:
    """`text` and `blocks` of a message about the approval where it stands now."""
    values = fields(event)
    words = WORDS[event.standing]
    pending = event.standing is State.PENDING
    said = f" by {values['approvers']}" if event.approval.approvers and not pending else ""
    blocks: list[dict[str, object]] = [
        {"type": "header", "text": _plain(values["title"][:MAX_LINE])},
        {"type": "section", "text": _plain(_facts(values, event.card))},
        _quoted(request_text(event.card) if shows_all(event.card) else _summary(event.card)),
        {"type": "context", "elements": [_plain(f"{event.approval.id}: {words}{said}")]},
    ]
    if pending:
        blocks.append({"type": "actions", "block_id": "decide", "elements": _buttons(event)})
    return {"text": escaped(f"{values['title']}: {words}{said}"), "blocks": blocks}


def request_text(card: Mapping[str, object]) -> str:
    """The request as its card has it: first line, headers, body."""
    headers = card["headers"]
    assert isinstance(headers, list)
    lines = [f"{card['method']} {card['url']}", *(f"{name}: {value}" for name, value in headers)]
    return "\n".join([*lines, "", str(card["body"])] if card["body"] is not None else lines)


def shows_all(card: Mapping[str, object]) -> bool:
    """Whether the whole request fits into a message, and all its operations do: a batch may have many."""
    named = len(str(card["title"])) <= MAX_LINE and len(str(card["operation"])) <= MAX_OPERATIONS
    return named and len(request_text(card)) <= MAX_SHOWN


def by_click(card: Mapping[str, object]) -> bool:
    """Whether a click in Slack may be a yes: the whole request was shown, and no key is asked for."""
    return shows_all(card) and card["strength"] != "strong"


def escaped(text: str) -> str:
    """Text as Slack's markup shows it literally. Source: "Formatting message text", escaping."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _facts(values: Mapping[str, str], card: Mapping[str, object]) -> str:
    who = f"{values['agent']} for {values['user']}" if values["user"] else values["agent"]
    escapes = f"\nCharacters spelt out because they would deceive: {card['escaped']}" if card["escaped"] else ""
    return (
        f"Agent: {who} ({values['tenant']})\n"
        f"Account: {values['account']}\n"
        f"Where: {values['host']} (of {values['domain']})\n"
        f"What: {values['operation']}, {values['action']}\n"
        f"Why it is asked: {values['reasons'] or 'no reason given'}\n"
        f"Costs at most: {values['cost_microusd']} microdollars\n"
        f"Decide by: {values['decide_by']}{escapes}"
    )[:MAX_SHOWN]


def _summary(card: Mapping[str, object]) -> str:
    text = f"{card['method']} {card['url']}"[:1000]
    return (
        f"{text}\n\nToo long for a message: {card['body_bytes']} bytes of body, SHA-256 {card['body_sha256']}."
        "\nLook at it as a whole before you decide."
    )


def _buttons(event: Event) -> list[dict[str, object]]:
    no: dict[str, object] = {
        "type": "button",
        "action_id": REJECT,
        "style": "danger",
        "text": _plain("Reject"),
        "value": event.approval.id,
    }
    yes: dict[str, object] = {**no, "action_id": APPROVE, "style": "primary", "text": _plain("Approve once")}
    look: list[dict[str, object]] = []
    if event.link is not None:
        look = [{"type": "button", "action_id": "briefcased_look", "text": _plain("Look"), "url": event.link}]
    return [*([yes] if by_click(event.card) else []), no, *look]


def _plain(text: str) -> dict[str, object]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _quoted(text: str) -> dict[str, object]:
    block = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": text}]}
    return {"type": "rich_text", "elements": [block]}
