"""Tokens for one task: minted by us, made narrower by whoever holds them, judged for each call. Pure.

A token is a Biscuit (biscuitsec.org): blocks, each signed with a key that the block before it names. Whoever holds one
can append a block offline, but none can be changed or taken away. Blocks hold checks, and every check must hold, so
another block can only narrow. Of appended blocks nothing but checks is accepted, of ours also who the token is for.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import biscuit_auth as biscuit

from proxy.identity.task_limits import NAME, TASK, TaskLimits

if TYPE_CHECKING:
    from proxy.model import Called

PREFIX: Final = "task_"
TEXT: Final = re.compile(r"bct_([0-9A-Za-z_-]{43})_([0-9A-Za-z_-]{100,4000})")
"""The public key that the holder needs to append a block, which nobody here believes; then the token."""
MAX_CHARACTERS: Final = 4096
MAX_BLOCKS: Final = 8
ID_CHARACTERS: Final = 32
ONLY: Final = "check if "
REGEX: Final = ".matches("
CLOSURE: Final = "->"
PEER: Final = "peer("
"""Of a holder's making these may take long, whatever the limits of the run are (P7): a regular expression to compile,
closures within closures, and joins of the one fact of which there are several. Within one expression or join Biscuit
does not look at the time."""
_FACT: Final = re.compile(r'^(agent|user|task|life)\("([A-Za-z0-9._-]{1,64})"\);$', re.MULTILINE)
_UNTIL: Final = re.compile(r"^check if time\(\$time\), \$time < (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ);$", re.MULTILINE)
_PEERS: Final = re.compile(r'^check if peer\(\$peer\), \{([a-z0-9:."\', ]+)\}\.contains\(\$peer\);$', re.MULTILINE)
_MAX_TIME: Final = timedelta(milliseconds=100)
_MAX_FACTS: Final = 64
_MAX_ITERATIONS: Final = 8


@dataclass(frozen=True, slots=True)
class TaskToken:
    """A token whose signatures hold. A `Session`.

    Attributes:
        ids: of each block, the first 128 bits of its signature: who revokes one revokes what was narrowed from it.
        until_ms: when the earliest of the time limits ends it.
        life: which agent of this name it is for, see `Agent`.
        came_from: the other end by all its names: `ip:ADDRESS`, or `uid:NUMBER` and `process:PID:START` of it and its
            ancestors.
        peers: by whom it may be used, one set for each limit.
    """

    ids: tuple[str, ...]
    agent: str
    user: str | None
    task: str | None
    until_ms: int
    peers: tuple[frozenset[str], ...]
    came_from: tuple[str, ...] = ()
    life: int = 0
    _token: biscuit.Biscuit = field(repr=False, compare=False, kw_only=True)

    @property
    def id(self) -> str:
        """For receipts and revocation."""
        return PREFIX + self.ids[-1]

    def valid(self, now_ms: int) -> bool:
        """Whether it holds at `now_ms`, for its peer."""
        return now_ms < self.until_ms and all(not allowed.isdisjoint(self.came_from) for allowed in self.peers)

    def permits(self, call: Called) -> bool:
        """See `Session`. A limit that cannot be judged is not kept (P5)."""
        known = {
            "host": call.host,
            "method": call.method,
            "path": call.path,
            "account": call.account,
            "provider": call.provider,
            "operation": call.operation,
            "action": None if call.action is None else call.action.value,
        }
        facts = {name: value for name, value in known.items() if value is not None}
        code = "".join(f"{name}({{{name}}}); " for name in facts)
        peers = {f"peer{n}": peer for n, peer in enumerate(self.came_from)}
        code += "".join(f"peer({{{name}}}); " for name in peers)
        try:
            given = {**facts, **peers, "now": datetime.fromtimestamp(call.now_ms / 1000, UTC)}
            asked = biscuit.AuthorizerBuilder(f"time({{now}}); {code} allow if true;", given)
            limits = asked.limits()  # type: ignore[attr-defined]  # not in its stubs
            limits.max_time, limits.max_facts, limits.max_iterations = _MAX_TIME, _MAX_FACTS, _MAX_ITERATIONS
            asked.set_limits(limits)  # type: ignore[attr-defined]
            asked.build(self._token).authorize()
        except BaseException as error:  # see `_is_theirs`
            if _is_theirs(error):
                return False
            raise
        return True


def mint(
    key: bytes, agent: str, limits: TaskLimits, *, user: str | None = None, task: str | None = None, life: int = 0
) -> str:
    """A token of `agent`, signed with `key` (an Ed25519 seed, 32 bytes). `limits` must say until when it holds.

    `life` tells the agent from those of its name that were revoked before it was added.

    Raises:
        ValueError: a name is none, or there is no end.
    """
    if limits.until_ms is None:
        raise ValueError("a task token ends at some time")
    facts = {"agent": agent, "user": user, "task": task, "life": str(life) if life else None}
    given = {name: value for name, value in facts.items() if value is not None}
    if not all((NAME if name in ("agent", "user") else TASK).fullmatch(value) for name, value in given.items()):
        raise ValueError("a name is lower-case letters, digits, - and _, and starts with a letter")
    code, values = limits.checks()
    builder = biscuit.BiscuitBuilder("".join(f"{n}({{{n}}}); " for n in given) + code, {**given, **values})
    private = _private(key)
    return _text(builder.build(private), public_key(key))


def narrowed(text: str, limits: TaskLimits) -> str:
    """`text` with `limits` on top; needs nobody's key. Raises `ValueError`: it is no token, or would be too long."""
    found = TEXT.fullmatch(text)
    try:
        key = _public(_decoded(found[1]) if found else b"")
        held = biscuit.Biscuit.from_base64(_padded(found[2]) if found else "", key)
    except (ValueError, biscuit.BiscuitValidationError):
        raise ValueError("this is no task token") from None
    code, values = limits.checks()
    more = held.append(biscuit.BlockBuilder(code, values))
    new = _text(more, bytes(key.to_bytes()))
    if len(new) > MAX_CHARACTERS or more.block_count() > MAX_BLOCKS:
        raise ValueError("the token would be too long")
    return new


def read(text: str, key: bytes) -> TaskToken | None:
    """The token, where each of its blocks is signed as it must be, the first by the owner of `key`; else None."""
    found = TEXT.fullmatch(text)
    if found is None or len(text) > MAX_CHARACTERS:
        return None
    try:
        token, blocks = _opened(found[2], key)
    except BaseException as error:  # see `_is_theirs`
        if _is_theirs(error):
            return None
        raise
    if not blocks or not all(_only_checks(block) for block in blocks[1:]):
        return None
    facts = dict(_FACT.findall(blocks[0]))
    ends = [_ms(end) for block in blocks for end in _UNTIL.findall(block)]
    if "agent" not in facts or not ends:
        return None
    return TaskToken(
        ids=tuple(one[:ID_CHARACTERS] for one in token.revocation_ids),
        agent=facts["agent"],
        user=facts.get("user"),
        task=facts.get("task"),
        until_ms=min(ends),
        life=int(facts.get("life", "0")),
        peers=tuple(frozenset(re.findall(r'"([^"]+)"', one)) for block in blocks for one in _PEERS.findall(block)),
        _token=token,
    )


def _opened(text: str, key: bytes) -> tuple[biscuit.Biscuit, list[str]]:
    """The token and the source of its blocks; none where there are too many, or one is signed by somebody else."""
    token = biscuit.Biscuit.from_base64(_padded(text), _public(key))
    count = token.block_count()
    if count > MAX_BLOCKS or any(token.block_external_key(index) is not None for index in range(count)):
        return token, []
    return token, [token.block_source(index) for index in range(count)]


def _is_theirs(error: BaseException) -> bool:
    """Whether the library refuses, or gave up: a panic of its Rust code is no `Exception`, and must refuse too (P5)."""
    return type(error).__module__ in ("biscuit_auth", "pyo3_runtime") or isinstance(error, ValueError)


def last_id(text: str) -> str:
    """The id of the last block of a token that nobody has verified. Raises `ValueError`: it is no token."""
    found = TEXT.fullmatch(text)
    try:
        ids = biscuit.UnverifiedBiscuit.from_base64(_padded(found[2] if found else "")).revocation_ids
    except biscuit.BiscuitValidationError:
        raise ValueError("this is no task token") from None
    return ids[-1][:ID_CHARACTERS]


def public_key(key: bytes) -> bytes:
    """The public half of an Ed25519 seed."""
    private = _private(key)
    return bytes(biscuit.KeyPair.from_private_key(private).public_key.to_bytes())


def _only_checks(block: str) -> bool:
    return all(line.startswith(ONLY) and _is_quick(line) for line in block.splitlines() if line)


def _is_quick(check: str) -> bool:
    """Whether a check as Biscuit prints it takes no longer than it is."""
    return REGEX not in check and CLOSURE not in check and check.count(PEER) <= 1


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1000


def _text(token: biscuit.Biscuit, public: bytes) -> str:
    encoded = base64.urlsafe_b64encode(public).decode().rstrip("=")
    return f"bct_{encoded}_{token.to_base64().rstrip('=')}"


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(_padded(text))


def _private(seed: bytes) -> biscuit.PrivateKey:
    return biscuit.PrivateKey(f"ed25519-private/{seed.hex()}")


def _public(key: bytes) -> biscuit.PublicKey:
    return biscuit.PublicKey(f"ed25519/{key.hex()}")
