"""Tokens for one task, without a proxy: whatever a holder appends can only narrow (H-05, H-09)."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import biscuit_auth as biscuit
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.identity import task_tokens
from proxy.identity.task_limits import TaskLimits
from proxy.identity.task_tokens import MAX_BLOCKS, mint, narrowed, public_key, read
from proxy.identity.tasks import peer_of, revocable
from proxy.model import Action, Called

SEED = b"\x05" * 32
KEY = public_key(SEED)
NOW_MS = 1_790_000_000_000
LIMITS = TaskLimits(
    until_ms=NOW_MS + 60_000,
    accounts=("github/work", "stripe/*"),
    operations=("read", "github:merge"),
    paths=("/repos/",),
)
TOKEN = mint(SEED, "coder", LIMITS, user="alice", task="t1")
CALL = Called(NOW_MS, "api.github.com", "GET", "/repos/x", "github/work", "github", "github:get", Action.READ)


def appended(text: str, code: str) -> str:
    """`text` with a block of any content: an attacker need not use our own code."""
    found = task_tokens.TEXT.fullmatch(text)
    assert found is not None
    held = biscuit.Biscuit.from_base64(found[2] + "=" * (-len(found[2]) % 4), biscuit.PublicKey(f"ed25519/{KEY.hex()}"))
    return f"bct_{found[1]}_{held.append(biscuit.BlockBuilder(code)).to_base64().rstrip('=')}"


def permits(text: str, **changed: Any) -> bool:
    token = read(text, KEY)
    call = dataclasses.replace(CALL, **changed)
    return token is not None and token.valid(call.now_ms) and token.permits(call)


def test_what_a_token_says() -> None:
    token = read(TOKEN, KEY)
    assert token is not None
    assert (token.agent, token.user, token.task, token.until_ms) == ("coder", "alice", "t1", NOW_MS + 60_000)
    assert token.id == f"task_{revocable(TOKEN)}" == f"task_{revocable(token.id)}"
    assert TOKEN not in repr(token)


@pytest.mark.parametrize(
    ("changed", "allowed"),
    [
        ({}, True),
        ({"account": "github/home"}, False),
        ({"account": "stripe/any", "provider": "stripe", "operation": "stripe:x"}, True),
        ({"operation": "github:merge", "action": Action.WRITE}, True),
        ({"operation": "github:other", "action": Action.WRITE}, False),
        ({"path": "/user"}, False),
        ({"path": None}, False),
        ({"account": None, "provider": None}, False),
        ({"operation": None, "action": None}, False),
        ({"now_ms": NOW_MS + 60_000}, False),
        ({"now_ms": NOW_MS + 59_000}, True),
        ({"path": '/repos/"); allow if true; //'}, True),
        ({"path": '/x"); path("/repos/'}, False),
    ],
)
def test_a_call_is_within_every_limit_or_refused(changed: dict[str, Any], allowed: bool) -> None:
    assert permits(TOKEN, **changed) is allowed


WIDENING = [
    'account("github/home"); provider("stripe");',
    'path("/repos/x"); time(2020-01-01T00:00:00Z);',
    'agent("admin"); user("root");',
    'account($a) <- time($t), $a == "github/home";',
    "allow($x) <- path($x);",
    "check if true or account($x);",
    'check if path($path), $path.matches("(a{500}){500}");',
    'check all account($a), $a == "x";',
    "check if true trusting ed25519/" + KEY.hex() + ";",
]


@pytest.mark.parametrize("code", WIDENING)
def test_p5_an_added_block_of_an_attacker_never_widens(code: str) -> None:
    try:
        text = appended(TOKEN, code)
    except biscuit.DataLogError:
        return
    for changed in ({"account": "github/home"}, {"path": "/user"}, {"now_ms": NOW_MS + 70_000}):
        assert not permits(text, **changed)
    found = read(text, KEY)
    assert found is None or (found.agent, found.user) == ("coder", "alice")


ENDLESS = "true"
for _name in "abcdefgh":
    ENDLESS = f"[{','.join(map(str, range(20)))}].all(${_name} -> {ENDLESS})"


@pytest.mark.parametrize(
    "code", [f"check if {ENDLESS}", "check if " + ", ".join(f"peer($p{n})" for n in range(9)) + ', $p0 == "none"']
)
def test_p7_an_added_check_that_would_take_hours_is_never_run(code: str) -> None:
    """20 ** 8 steps, or a join of 50 ** 9 peers: Biscuit's limit of time ends neither. One that is quick is fine."""
    assert read(appended(TOKEN, code), KEY) is None
    assert read(appended(TOKEN, 'check if peer($p), {"ip:127.0.0.1", "uid:1000"}.contains($p)'), KEY) is not None


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "accounts": st.lists(st.sampled_from(["github/work", "github/home", "stripe/*", "github/*"]), max_size=2),
    "operations": st.lists(st.sampled_from(["read", "write", "admin", "github:get", "github:merge"]), max_size=2),
    "methods": st.lists(st.sampled_from(["GET", "POST"]), max_size=2),
    "hosts": st.lists(st.sampled_from(["api.github.com", "evil.test"]), max_size=1),
    "paths": st.lists(st.sampled_from(["/", "/repos/", "/user"]), max_size=2),
    "until_ms": st.one_of(st.none(), st.integers(NOW_MS - 10_000, NOW_MS + 10**9)),
}
BLOCKS = st.lists(st.fixed_dictionaries(VALUES), max_size=3)
CALLS = st.builds(
    Called,
    st.integers(NOW_MS - 5_000, NOW_MS + 120_000),
    st.sampled_from(["api.github.com", "evil.test"]),
    st.sampled_from(["GET", "POST", None]),
    st.sampled_from(["/repos/x", "/user", "/", None]),
    st.sampled_from(["github/work", "github/home", "stripe/a", None]),
    st.sampled_from(["github", "stripe", None]),
    st.sampled_from(["github:get", "github:merge", None]),
    st.sampled_from([*Action, None]),
)


def within(limits: TaskLimits, call: Called) -> bool:
    """The rules once more, by hand."""
    accounts = {call.account, None if call.provider is None else f"{call.provider}/*"}
    operations = {call.operation, None if call.action is None else call.action.value}
    return (
        (limits.until_ms is None or call.now_ms < limits.until_ms // 1000 * 1000)
        and (not limits.accounts or bool(accounts & set(limits.accounts)))
        and (not limits.operations or bool(operations & set(limits.operations)))
        and (not limits.methods or call.method in limits.methods)
        and (not limits.hosts or call.host in limits.hosts)
        and (not limits.paths or (call.path is not None and call.path.startswith(tuple(limits.paths))))
    )


@settings(max_examples=60, deadline=None)
@given(blocks=BLOCKS, call=CALLS)
def test_p5_a_chain_permits_exactly_what_every_block_permits(blocks: list[dict[str, Any]], call: Called) -> None:
    chain = [LIMITS]
    text = TOKEN
    for block in blocks:
        limits = TaskLimits(**{k: tuple(v) if isinstance(v, list) else v for k, v in block.items()})
        if limits != TaskLimits():
            chain.append(limits)
            text = narrowed(text, limits)
    token = read(text, KEY)
    assert token is not None
    assert (token.valid(call.now_ms) and token.permits(call)) == all(within(one, call) for one in chain)
    assert token.ids[0] == revocable(TOKEN)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("AQgw_-09"))
def test_p5_a_changed_token_is_never_another_right(at: int, letter: str) -> None:
    changed = TOKEN[:at] + letter + TOKEN[at + 1 :]
    found = read(changed, KEY)
    assert found is None or (found.ids, found.agent) == (read(TOKEN, KEY).ids, "coder")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text", ["", "bct_", "bct_" + "A" * 43 + "_" + "_" * 200, TOKEN + "A" * 4000, TOKEN[:-1], "x" + TOKEN]
)
def test_p5_garbage_is_no_token(text: str) -> None:
    assert read(text, KEY) is None


def test_p5_a_token_of_another_key_is_none() -> None:
    assert read(mint(b"\x06" * 32, "coder", LIMITS), KEY) is None
    forged = TOKEN.replace(TOKEN[4:47], base64.urlsafe_b64encode(public_key(b"\x06" * 32)).decode().rstrip("="))
    assert read(forged, KEY) == read(TOKEN, KEY)  # the key that it brings along is not looked at


def test_p7_a_token_has_few_blocks() -> None:
    text = TOKEN
    for _ in range(MAX_BLOCKS - 1):
        text = appended(text, "check if true")
    assert read(text, KEY) is not None
    assert read(appended(text, "check if true"), KEY) is None
    with pytest.raises(ValueError, match="too long"):
        narrowed(text, TaskLimits(methods=("GET",)))


def test_h_05_a_peer_is_part_of_what_holds() -> None:
    token = read(narrowed(TOKEN, TaskLimits(peers=("uid:1000", "ip:10.0.0.9"))), KEY)
    assert token is not None
    for source, holds in (("uid 1000", True), ("10.0.0.9", True), ("uid 0", False), ("10.0.0.8", False), ("", False)):
        assert dataclasses.replace(token, came_from=(peer_of(source),)).valid(NOW_MS) is holds


@pytest.mark.parametrize(
    "limits", [{"accounts": ['a/b"); allow']}, {"peers": ["uid:x"]}, {"paths": ["x"]}, {"operations": ["*"]}, {}]
)
def test_h_09_what_is_no_limit_is_refused(limits: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        narrowed(TOKEN, TaskLimits(**{name: tuple(values) for name, values in limits.items()}))


@pytest.mark.parametrize("name", ['a"); user("root', "", "A", "a b", "a\nb", "x" * 64])
def test_h_09_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        mint(SEED, name, LIMITS)
    with pytest.raises(ValueError, match=r".+"):
        mint(SEED, "coder", LIMITS, user=name)
