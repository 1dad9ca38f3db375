"""What an external classifier is told about a call, and what it may answer. Pure.

Names, numbers and our own reason codes; the agent's name only as a keyed hash; never a path, a query, a header, or, but
where the operator says so, the body (W-27).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import orjson

from proxy.risk.circumstances import Advice

if TYPE_CHECKING:
    from proxy.model import Agent
    from proxy.risk.look import Call
    from proxy.risk.score import Risk

MAX_REASONS: Final = 16
MAX_CODE_CHARS: Final = 64
_CODE_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


class BadAdviceError(Exception):
    """The answer is not what a classifier may say. Repeats nothing of it."""


def question(call: Call, risk: Risk, agent: Agent, *, key: bytes, body: bool) -> bytes:
    """The JSON that is sent; with `body`, what is looked at of the body goes along as text."""
    head, past = call.head, call.circumstances.past
    moment = datetime.fromtimestamp(call.now_ms / 1000, UTC)
    known: dict[str, object] = {
        "version": 1,
        "agent": hmac.new(key, f"{agent.tenant}\n{agent.name}".encode(), hashlib.sha256).hexdigest()[:32],
        "profile": call.use[0],
        "operation": call.use[1],
        "action": call.action.value,
        "method": head.method,
        "host": head.authority.host,
        "hour": moment.hour,
        "weekday": moment.isoweekday(),
        "path_bytes": len(head.path),
        "query_bytes": len(head.query or ""),
        "headers": len(head.headers),
        "body_bytes": len(call.body) if call.body is not None else head.content_length,
        "first_use": call.circumstances.first_use(call.use),
        "new_destination": past is None or head.authority.host not in past.hosts,
        "score": risk.score,
        "reasons": list(risk.codes),
    }
    if body:
        known["body"] = (call.body or b"")[: call.settings.look_bytes].decode("utf-8", "replace")
    return orjson.dumps(known)


def advice(answer: bytes) -> Advice:
    """`{"score": 0 to 100, "reasons": [short names]}`, and nothing else.

    Raises:
        BadAdviceError: anything else, also a key that stands there twice.
    """
    try:
        said = json.loads(answer, object_pairs_hook=_once, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise BadAdviceError from None
    if not isinstance(said, dict) or said.keys() != {"score", "reasons"}:
        raise BadAdviceError
    score, reasons = said["score"], said["reasons"]
    if type(score) is not int or not 0 <= score <= 100:  # noqa: PLR2004  # a bool is an int too
        raise BadAdviceError
    if not isinstance(reasons, list) or len(reasons) > MAX_REASONS or not all(map(_is_code, reasons)):
        raise BadAdviceError
    return Advice(score, tuple(dict.fromkeys(reasons)))


def _is_code(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_CODE_CHARS and _CODE_CHARS.issuperset(value)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _refused(_name: str) -> None:
    raise ValueError("not JSON")
