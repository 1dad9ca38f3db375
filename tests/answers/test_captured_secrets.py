"""New secrets in replies: stored before the agent gets a stand-in, presented at their provider, useless elsewhere."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3

import pytest
import pytest_asyncio

from proxy.db.engine import DATABASE
from tests.answers.capturing import ADMIN, API, FRESH, OTHER, RIG, created, reply
from tests.rig.sidecar import running_rig

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig(tmp_path_factory):
    async with running_rig(tmp_path_factory.mktemp("capture"), **RIG) as running:
        yield running


def url(rig, path, host=API):
    return f"https://{host}:{rig.provider.port}{path}"


async def create(rig, raw, *, path="/admin/keys", agent="tester", http2=False):
    rig.provider.answers(path, raw)
    return await rig.call("POST", url(rig, path), json={"name": "mine"}, agent=agent, http2=http2)


def rows(rig):
    with sqlite3.connect(rig.home / DATABASE) as database:
        return database.execute("SELECT id, agent, account, slot, receipt FROM captured").fetchall()


async def outcome(rig, answer):
    calls = await rig.settled(1)
    return next(call for call in calls if call.decision["id"] == answer.headers["briefcased-receipt"]).outcome


@pytest.mark.parametrize(("coding", "http2"), [("identity", False), ("gzip", True), ("br", False), ("identity", True)])
async def test_p1_a_created_key_is_stored_and_the_agent_gets_a_stand_in(rig, coding, http2):
    value = f"{FRESH}-{coding}-{http2}"
    quoted = created(value, curl=f"curl -H 'X-Widgets-Key: {value}' https://x")
    packed = base64.b64encode(f"x:{value}".encode()).decode()
    extra = f"X-Key: {value}\r\nSet-Cookie: session={value}\r\n"
    answer = await create(rig, reply({**quoted, "basic": packed}, coding=coding, extra=extra), http2=http2)
    told = answer.json()
    assert packed not in (basic := told.pop("basic"))
    assert value not in base64.b64decode(basic + "===").decode("latin-1")
    stand_in = told["data"]["key"]
    assert answer.status == 200
    assert stand_in.startswith("wk-")
    assert told == created(stand_in, curl=f"curl -H 'X-Widgets-Key: {stand_in}' https://x")
    assert answer.headers["x-key"] == stand_in
    assert value not in str(answer.headers.raw)
    assert not {"set-cookie", "content-encoding"} & set(answer.headers)
    assert rig.provider.last.one("authorization") == f"Bearer {ADMIN}"
    ended = await outcome(rig, answer)
    assert (ended["outcome"], ended["captured"], ended["status"]) == ("completed", "key", 200)
    assert any(row[1:] == ("tester", "widgets/main", "key", answer.headers["briefcased-receipt"]) for row in rows(rig))
    used = await rig.call("GET", url(rig, "/v1/things"), headers={"X-Widgets-Key": stand_in}, http2=http2)
    assert rig.provider.last.one("x-widgets-key") == value
    assert rig.provider.last.one("authorization") is None
    assert value.encode() not in used.body
    assert stand_in.encode() in used.body  # the provider echoes it


async def test_p1_the_value_is_nowhere_in_the_state(rig):
    value = f"{FRESH}-nowhere"
    await create(rig, reply(created(value)))
    await rig.settled(1)
    for path in rig.home.rglob("*"):
        if path.is_file():
            assert value.encode() not in path.read_bytes(), path


async def test_p6_a_stand_in_is_of_one_agent_one_provider_and_the_operations_of_its_slot(rig):
    answer = await create(rig, reply(created(f"{FRESH}-bound")))
    stand_in = answer.json()["data"]["key"]
    count = len(rig.provider.requests)
    for host, path, agent, header in (
        (API, "/v1/things", "rival", "X-Widgets-Key"),
        (OTHER, "/x", "tester", "X-Token"),
        (OTHER, "/x", "rival", "X-Token"),
        (API, "/admin/list", "tester", "Authorization"),
    ):
        refused = await rig.call("GET", url(rig, path, host), headers={header: stand_in}, agent=agent)
        assert refused.problem == "credential_scope"
    assert len(rig.provider.requests) == count
    plain = await rig.call("GET", url(rig, "/v1/things"), agent="rival")  # without one: the account's own secret
    assert plain.status == 200
    assert rig.provider.last.one("x-widgets-key") is None
    rig.provider.answers("/v1/echo", reply({"all": f"{FRESH}-bound"}))
    seen = await rig.call("GET", url(rig, "/v1/echo"), agent="rival")
    assert f"{FRESH}-bound".encode() not in seen.body
    assert stand_in.encode() not in seen.body  # another agent's stand-in is not told either


async def test_two_keys_are_two_stand_ins_and_never_mixed(rig):
    one = (await create(rig, reply(created(f"{FRESH}-one")))).json()["data"]["key"]
    two = (await create(rig, reply(created(f"{FRESH}-two")))).json()["data"]["key"]
    assert one != two
    for stand_in, value in ((one, "one"), (two, "two"), (one, "one")):
        await rig.call("GET", url(rig, "/v1/x"), headers={"X-Widgets-Key": stand_in})
        assert rig.provider.last.one("x-widgets-key") == f"{FRESH}-{value}"
    both = await rig.call("GET", url(rig, "/v1/x"), headers={"X-Widgets-Key": one, "X-More": two})
    assert both.problem == "credential_scope"


async def test_a_form_and_a_list_are_captured_too(rig):
    form = await create(
        rig,
        reply(f"id=1&key={FRESH}-form".encode(), kind="application/x-www-form-urlencoded; charset=utf-8"),
        path="/admin/form",
    )
    assert form.body.startswith(b"id=1&key=wk-")
    both = await create(rig, reply({"keys": [f"{FRESH}-l"], "admin": f"ad-{FRESH}"}), path="/admin/both")
    assert both.json()["keys"][0].startswith("wk-")
    await rig.call("GET", url(rig, "/admin/x"), headers={"Authorization": f"Bearer {both.json()['admin']}"})
    assert rig.provider.last.one("authorization") == f"Bearer ad-{FRESH}"
    alone = await create(rig, reply({"keys": [f"{FRESH}-m"]}), path="/admin/both")
    assert list(alone.json()) == ["keys"]


async def test_answers_without_a_secret_pass(rig):
    for raw, status in (
        (reply({"error": "no"}), 200),
        (reply({"message": "bad"}, status="422 Unprocessable"), 422),
        (reply({"error": "x"}, status="500 Oops"), 500),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (reply(b""), 200),
    ):
        answer = await create(rig, raw)
        assert (answer.status, answer.problem) == (status, None)
        assert "captured" not in await outcome(rig, answer)


LARGE = created(FRESH, more="x" * 70_000)
WITHHELD = {
    "other type": reply(created(), kind="text/plain"),
    "no type": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "not JSON": reply(f"key={FRESH}".encode()),
    "cut JSON": reply(json.dumps(created()).encode()[:-2]),
    "secret is missing": reply({"data": {"value": FRESH}}),
    "secret is a number": reply(created(1234567890123)),
    "secret is a list": reply(created([FRESH])),
    "secret is short": reply(created("abc")),
    "secret is null": reply(created(None)),
    "not an object": reply([FRESH]),
    "too large": reply(LARGE),
    "bomb": reply(LARGE, coding="gzip"),
    "unknown coding": reply(created(), extra="Content-Encoding: rot13\r\n"),
    "broken gzip": reply(created(), extra="Content-Encoding: gzip\r\n"),
    "cut body": reply(created()).replace(b"Content-Length: ", b"Content-Length: 1"),
    "deep": reply(b'{"data":' * 3000 + b"}" * 3000),
}


QUICK = ("other type", "secret is missing", "too large", "broken gzip")
CASES = [pytest.param(case, False, marks=() if case in QUICK else pytest.mark.slow) for case in WITHHELD]


@pytest.mark.parametrize(("case", "http2"), [*CASES, ("too large", True), ("cut body", True)])
async def test_p5_what_cannot_be_captured_is_withheld(rig, case, http2):
    before = rows(rig)

    async def once(_seen, _reader, writer):
        writer.write(WITHHELD[case])
        await writer.drain()
        writer.close()

    rig.provider.on("/admin/keys", once)
    answer = await rig.call("POST", url(rig, "/admin/keys"), json={}, http2=http2)
    assert answer.status == 502
    assert answer.problem == "response_withheld"
    assert FRESH.encode() not in answer.body
    assert rows(rig) == before
    ended = await outcome(rig, answer)
    assert (ended["outcome"], ended["error"]) == ("response_withheld", "response_withheld")


async def test_p1_a_token_that_the_profile_does_not_name_is_withheld(rig):
    """An agent that asks for one more scope gets one more token."""
    answer = await create(rig, reply(created(f"{FRESH}-more", id_token="a-token-that-nobody-named")))
    assert answer.problem == "response_withheld"
    assert b"nobody-named" not in answer.body


async def test_p5_what_cannot_be_stored_is_withheld_and_still_scrubbed(rig):
    broken = sqlite3.connect(rig.home / DATABASE)
    value = f"{FRESH}-unstored"
    broken.execute("ALTER TABLE captured RENAME TO captured_away")
    broken.commit()
    try:
        answer = await create(rig, reply(created(value)))
    finally:
        broken.execute("ALTER TABLE captured_away RENAME TO captured")
        broken.commit()
        broken.close()
    assert answer.problem == "response_withheld"
    assert b"wk-" not in answer.body
    rig.provider.answers("/v1/echo", reply({"all": value}))
    assert value.encode() not in (await rig.call("GET", url(rig, "/v1/echo"))).body


async def test_p4_p5_a_fault_between_storing_and_answering_withholds(rig, monkeypatch):
    def fail(_new):
        raise RuntimeError(f"{FRESH}-fault")

    monkeypatch.setattr(rig.sidecar._keeper, "publish", fail)
    before = len(rows(rig))
    answer = await create(rig, reply(created(f"{FRESH}-fault")))
    assert answer.problem == "policy_unavailable"
    assert b"wk-" not in answer.body
    assert FRESH.encode() not in answer.body
    assert len(rows(rig)) == before + 1  # it was durable before anything could leave
    ended = await outcome(rig, answer)
    assert (ended["outcome"], ended["error"]) == ("upstream_aborted", "policy_unavailable")


async def test_p7_an_agent_has_a_bounded_number_of_them(rig, monkeypatch):
    monkeypatch.setattr("proxy.capturing.MAX_HELD", 0)
    count = len(rig.provider.requests)
    answer = await create(rig, reply(created()))
    assert answer.problem == "policy_denied"
    assert len(rig.provider.requests) == count


async def test_p4_an_agent_that_leaves_while_the_reply_is_held_has_its_outcome(rig):
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slow(_seen, _reader, writer):
        arrived.set()
        await go.wait()
        writer.write(reply(created(f"{FRESH}-gone")))

    rig.provider.on("/admin/keys", slow)
    known = {call.decision["id"] for call in await rig.receipts()}
    _, writer = await rig.tls(API)
    writer.write(f"POST /admin/keys HTTP/1.1\r\nHost: {API}:{rig.provider.port}\r\nContent-Length: 0\r\n\r\n".encode())
    await arrived.wait()
    writer.transport.abort()
    calls = await rig.settled(len(known) + 1)
    go.set()
    (left,) = [call for call in calls if call.decision["id"] not in known]
    assert left.outcome["outcome"] == "client_aborted"


async def test_the_connection_goes_on_after_a_capture(rig):
    rig.provider.answers("/admin/keys", reply(created(f"{FRESH}-keepalive")))
    async with rig.client() as client:
        for _ in range(3):
            made = await client.post(url(rig, "/admin/keys"), json={})
            used = await client.get(url(rig, "/v1/x"), headers={"X-Widgets-Key": made.json()["data"]["key"]})
            assert used.status_code == 200
    assert rig.provider.requests[-1].connection == rig.provider.requests[-3].connection


async def test_p1_p6_a_restart_and_a_reload_forget_nothing(tmp_path):
    async with running_rig(tmp_path, **RIG) as first:
        stand_in = (await create(first, reply(created()))).json()["data"]["key"]
        await first.sidecar.reload(first.configuration)
        await first.call("GET", url(first, "/v1/x"), headers={"X-Widgets-Key": stand_in})
        assert first.provider.last.one("x-widgets-key") == FRESH
    await first.provider.start()  # at the port that it had: another would be a new place for the key
    try:
        async with running_rig(tmp_path, **RIG, provider=first.provider) as second:
            second.provider.answers("/v1/echo", reply({"all": FRESH}))
            assert FRESH.encode() not in (await second.call("GET", url(second, "/v1/echo"))).body
            await second.call("GET", url(second, "/v1/x"), headers={"X-Widgets-Key": stand_in})
            assert second.provider.last.one("x-widgets-key") == FRESH
            refused = await second.call("GET", url(second, "/v1/x"), headers={"X-Widgets-Key": stand_in}, agent="rival")
            assert refused.problem == "credential_scope"
    finally:
        await first.provider.stop()


@pytest.mark.parametrize(
    "column", ["agent", *(pytest.param(one, marks=pytest.mark.slow) for one in ("account", "slot"))]
)
async def test_p6_a_row_that_was_given_to_another_opens_for_nobody(tmp_path, column):
    async with running_rig(tmp_path, **RIG) as first:
        await create(first, reply(created()))
    with sqlite3.connect(tmp_path / "home" / DATABASE) as database:
        changed = {"agent": "rival", "account": "widgets/second", "slot": "admin"}[column]
        database.execute(f"UPDATE captured SET {column} = ?", (changed,))
    with pytest.raises(BaseException, match=r"sealed with another key|unhandled errors"):
        async with running_rig(tmp_path, **RIG):
            pass
