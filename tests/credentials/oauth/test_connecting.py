"""How a person connects an account, without a provider: what is asked, what counts as an answer, how polling paces."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from pydantic import ValidationError

from proxy.cli.connect import moment, shown
from proxy.cli.connections.callback import HEADERS, Callback
from proxy.credentials.kind import Call, Credential, Ingredients, MintFailedError, Reply
from proxy.credentials.oauth import OAuthCredential
from proxy.credentials.oauth.authorize import NotOursError, Started, challenge, read_answer, redeem, start
from proxy.credentials.oauth.device import Device, Pace, poll, start_device
from proxy.credentials.oauth.places import Places, places
from proxy.credentials.oauth.revoke import revoke
from proxy.credentials.oauth.state import Kept
from proxy.errors import BriefcaseError
from proxy.model import AccountId

ISSUER = "https://as.example.test"
AT = Places(
    token=f"{ISSUER}/token", issuer=ISSUER, authorization=f"{ISSUER}/auth", device=f"{ISSUER}/device",
    revocation=f"{ISSUER}/revoke", s256=True, names_itself=True,
)  # fmt: skip
STARTED = Started("https://x.test/", "http://127.0.0.1:1/callback", "the-state", "v" * 64, AT)
GIVEN = Ingredients(AccountId("acme", "main"), {}, {"client_id": "app"}, now_s=1000)
TOLD = {"device_code": "dc", "user_code": "WDJB-MJHT", "verification_uri": f"{ISSUER}/enter"}
FOREIGN = "<script>alert(1)</script>"


def kind(**fields):
    base = {"kind": "oauth", "grant": "authorization_code", "issuer": ISSUER, "client": {"auth": "none"}}
    return OAuthCredential.model_validate_json(json.dumps({**base, **fields}))


def run(generator, *replies):
    """What `generator` returns or raises where `replies` answer its calls, and those calls."""
    asked, answers, answer = [], iter(replies), None
    while True:
        try:
            step = generator.send(answer)
        except StopIteration as ended:
            return ended.value, asked
        except MintFailedError as failed:
            return failed, asked
        assert isinstance(step, Call)
        asked.append(step)
        status, body, *headers = next(answers)
        answer = Reply(
            status, headers[0] if headers else {}, body if isinstance(body, bytes) else json.dumps(body).encode()
        )


def detail(failed):
    assert isinstance(failed, MintFailedError), failed
    return failed.denial.detail


# -- what is asked ---------------------------------------------------------------------------------------------------


def test_the_challenge_is_the_one_of_the_rfc():
    # RFC 7636, appendix B.
    assert challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_a_request_says_everything_once_and_each_is_fresh():
    asking = kind(scope="a b", resource=["https://r1.test/", "https://r2.test/"], connect={"parameters": {"access_type": "offline"}},
                  authorization_details=[{"type": "payment"}])  # fmt: skip
    one, two = (run(start(asking, GIVEN, AT, "http://127.0.0.1:9/callback"))[0] for _ in range(2))
    query = parse_qs(urlsplit(one.url).query)
    assert query.pop("state") == [one.state]
    assert query.pop("code_challenge") == [challenge(one.verifier)]
    assert query == {
        "response_type": ["code"], "client_id": ["app"], "redirect_uri": ["http://127.0.0.1:9/callback"], "scope": ["a b"],
        "code_challenge_method": ["S256"], "resource": ["https://r1.test/", "https://r2.test/"], "access_type": ["offline"],
        "authorization_details": ['[{"type":"payment"}]'],
    }  # fmt: skip
    assert len({one.state, two.state, one.verifier, two.verifier}) == 4
    assert one.verifier not in one.url
    assert one.verifier not in repr(one)


@pytest.mark.parametrize(
    ("metadata", "field", "words"),
    [
        ({}, {}, "S256"),
        ({"code_challenge_methods_supported": ["plain"]}, {}, "S256"),
        ({"code_challenge_methods_supported": ["S256"]}, {}, None),
        ({}, {"pkce": "assumed"}, None),
        ({"code_challenge_methods_supported": ["S256"], "require_pushed_authorization_requests": True}, {}, "pushed"),
        ({"code_challenge_methods_supported": ["S256"]}, {"pushed": "required"}, "pushed"),
    ],
)
def test_p5_what_the_server_does_not_say_is_not_assumed(metadata, field, words):
    asking = kind(connect=field)
    about = {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/t", "authorization_endpoint": f"{ISSUER}/a", **metadata}
    at, _ = run(places(asking, GIVEN), (200, about))
    started, _ = run(start(asking, GIVEN, at, "http://127.0.0.1:9/callback"))
    assert (words in detail(started)) if words else started.url.startswith(f"{ISSUER}/a?")


def test_p2_endpoints_at_other_hosts_count_only_where_the_profile_lists_them():
    about = {"issuer": ISSUER, "token_endpoint": "https://elsewhere.test/t", "revocation_endpoint": f"{ISSUER}/r"}
    assert "does not allow" in detail(run(places(kind(), GIVEN), (200, about))[0])
    at, _ = run(places(kind(endpoint_hosts=["elsewhere.test"]), GIVEN), (200, about))
    assert at.token == "https://elsewhere.test/t"


def test_a_pushed_request_leaves_only_its_name_for_the_browser():
    at = Places(token=f"{ISSUER}/t", authorization=f"{ISSUER}/a?p=1", pushed=f"{ISSUER}/par", s256=True)
    started, calls = run(
        start(kind(), GIVEN, at, "http://127.0.0.1:9/callback"), (201, {"request_uri": "urn:x", "expires_in": 60})
    )
    assert started.url == f"{ISSUER}/a?p=1&client_id=app&request_uri=urn%3Ax"
    assert dict(parse_qsl(calls[0].body.decode()))["state"] == started.state
    for status, body in (
        (400, {"error": "invalid_request", "error_description": FOREIGN}),
        (201, {}),
        (201, b"x"),
        (302, {}),
        (201, {"request_uri": 7}),
    ):
        failed, _ = run(start(kind(), GIVEN, at, "http://127.0.0.1:9/callback"), (status, body))
        assert FOREIGN not in detail(failed)


@pytest.mark.parametrize(
    "connect",
    [
        {"redirect": "http://evil.test/callback"}, {"redirect": "https://127.0.0.1/callback"}, {"redirect": "http://0.0.0.0/x"},
        {"redirect": "http://127.0.0.1/callback?x=1"}, {"redirect": "http://127.0.0.1@evil.test/"}, {"parameters": {"state": "x"}},
        {"parameters": {"redirect_uri": "http://evil.test"}}, {"authorization_endpoint": "http://as.test/"}, {"pkce": "off"},
    ],
)  # fmt: skip
def test_a_profile_cannot_ask_for_less(connect):
    with pytest.raises(ValidationError):
        kind(connect=connect)


# -- what counts as an answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "", "state", "state=", "code=c", "code=c&state=other&iss=" + ISSUER, "code=c&state=the-state&state=the-state",
        "code=c&code=d&state=the-state", "state=the-state%00&code=c", "state=the-state" + "&a=b" * 40, "state=%ff&code=c",
        "state=the-state&x=" + "y" * 9000, "error=access_denied&error_description=x", "state=the-stat%C3%A9&code=c",
    ],
)  # fmt: skip
def test_what_has_not_our_state_changes_nothing(query):
    with pytest.raises(NotOursError):
        read_answer(query, STARTED)


@pytest.mark.parametrize(
    "query",
    [
        "code=c", "error=access_denied", f"code=c&iss={ISSUER}/", f"code=c&iss={ISSUER}:443", f"code=c&iss={ISSUER.upper()}", "code=c&iss=",
        f"iss=https://evil.test&error={FOREIGN}&error_description={FOREIGN}",
    ],
)  # fmt: skip
def test_p2_an_answer_of_another_server_ends_it_before_anything_in_it_is_used(query):
    with pytest.raises(MintFailedError) as ended:
        read_answer(f"{query}&state=the-state", STARTED)
    assert "server" in ended.value.denial.detail
    assert FOREIGN not in ended.value.denial.detail


def test_p1_an_error_is_told_in_our_words():
    answer = partial(read_answer, started=STARTED)
    for error, words in (("access_denied", "said no"), (FOREIGN, "refused"), ("login_required", "refused")):
        with pytest.raises(MintFailedError, match=r".*") as ended:
            answer(f"error={error}&error_description={FOREIGN}&state=the-state&iss={ISSUER}")
        assert words in ended.value.denial.detail
        assert FOREIGN not in ended.value.denial.detail
    assert answer(f"code=c%2Bd&state=the-state&iss={ISSUER}") == "c+d"
    for nothing in ("code=", "code=%0d%0a", "x=y"):
        with pytest.raises(MintFailedError):
            answer(f"{nothing}&state=the-state&iss={ISSUER}")


async def raw(port, head):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def test_p5_hostile_callbacks_get_a_fixed_page_and_the_answer_still_comes():
    callback = Callback("http://127.0.0.1/callback")
    uri = await callback.start()
    port = urlsplit(uri).port
    good = f"code=the-code&state=the-state&iss={ISSUER}"
    async with asyncio.TaskGroup() as group, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{uri}?{good}")).status_code == 404  # before anything was asked
        callback.expect(partial(read_answer, started=STARTED))
        waiting = group.create_task(callback.answer(within_s=20))
        hostile = [
            ("GET", f"{uri}?code=x&state=wrong", None, 400), ("GET", uri, None, 400), ("GET", f"{uri}/?{good}", None, 404),
            ("GET", f"http://127.0.0.1:{port}/?{good}", None, 404), ("POST", f"{uri}?{good}", None, 405), ("HEAD", f"{uri}?{good}", None, 405),
            ("GET", f"{uri}?{good}", "evil.test", 421), ("GET", f"{uri}?{good}", f"localhost:{port}", 421), ("GET", f"{uri}?{good}", "127.0.0.1", 421),
            ("GET", f"{uri}?error={FOREIGN}&state=x", None, 400),
        ]  # fmt: skip
        for method, url, host, status in hostile:
            answer = await client.request(method, url, headers={"Host": host} if host else None)
            assert (answer.status_code, FOREIGN in answer.text) == (status, False), (method, url, host)
        for head in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"GET /callback HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                     b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n"):  # fmt: skip
            assert b" 200 " not in await raw(port, head)
        assert not waiting.done()
        page = await client.get(f"{uri}?{good}")
        assert page.status_code == 200
        assert not any(word in page.text for word in ("the-code", "the-state", "script", "http"))
        assert {name.lower(): value for name, value in HEADERS}.items() <= dict(page.headers).items()
        assert await waiting == "the-code"
        assert (await client.get(f"{uri}?{good}")).status_code == 410
    await callback.close()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_nothing_in_time_ends_it_and_a_taken_port_is_told():
    callback = Callback("http://127.0.0.1/callback")
    uri = await callback.start()
    with pytest.raises(BriefcaseError, match="cannot listen"):
        await Callback(uri).start()
    with pytest.raises(BriefcaseError, match="no answer came"):
        await callback.answer(within_s=0.05)
    await callback.close()


# -- redemption ------------------------------------------------------------------------------------------------------


def test_what_a_person_gave_is_kept_as_the_kind_keeps_it():
    token = {
        "access_token": "at-number-1",
        "token_type": "Bearer",
        "expires_in": 600,
        "refresh_token": "rt-number-1",
        "scope": "a",
    }
    credential, calls = run(redeem(kind(scope="a b"), GIVEN, STARTED, "c"), (200, token))
    assert isinstance(credential, Credential)
    form = dict(parse_qsl(calls[0].body.decode()))
    assert form == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": STARTED.redirect_uri,
        "code_verifier": "v" * 64,
        "client_id": "app",
    }
    kept = Kept.read(credential.keep)
    assert (kept.access_token, kept.refresh_token, kept.scope, kept.issuer, kept.expires_at_s) == (
        "at-number-1",
        "rt-number-1",
        "a",
        ISSUER,
        "1600",
    )
    restored = kind(scope="a b").restore(
        Ingredients(GIVEN.account, {}, GIVEN.variables, kept=credential.keep, now_s=1000)
    )
    assert restored.text("access_token") == "at-number-1"


def test_what_a_server_wrote_reaches_a_terminal_only_as_text():
    assert shown("read write") == "read write"
    assert shown("\x1b]0;x\x07") == shown("\u202e") == "(cannot be shown)"
    assert len(shown("a" * 30_000)) < 1100
    assert [moment(text) for text in ("1795650000", "", None, "soon", "9" * 30)] == [
        "2026-11-25T23:40:00Z",
        *[None] * 4,
    ]


def test_a_token_that_never_ends_serves_for_ever():
    credential, _ = run(
        redeem(kind(), GIVEN, STARTED, "c"), (200, {"access_token": "at-number-1", "token_type": "bearer"})
    )
    later = Ingredients(GIVEN.account, {}, GIVEN.variables, kept=credential.keep, now_s=10**9)
    assert kind().restore(later).expires_at_s is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": "invalid_grant", "error_description": FOREIGN}), (200, {"error": "bad_verification_code", "error_description": FOREIGN}),
        (200, {}), (200, b"<html>"), (500, b""), (200, {"access_token": "at\nnumber", "token_type": "bearer"}), (200, {"access_token": "at-number-1", "token_type": "mac"}),
        (503, b""), (200, {"access_token": 7, "token_type": "bearer"}),
    ],
)  # fmt: skip
def test_p5_garbage_is_no_token(status, body):
    failed, calls = run(redeem(kind(), GIVEN, STARTED, "c"), (status, body))
    assert FOREIGN not in detail(failed)
    assert len(calls) == 1


# -- device codes ----------------------------------------------------------------------------------------------------


def test_a_device_code_is_shown_exactly():
    device, calls = run(
        start_device(kind(grant="device_code", scope="a"), GIVEN, AT), (200, {**TOLD, "expires_in": 9, "interval": 2})
    )
    assert device == Device("dc", "WDJB-MJHT", f"{ISSUER}/enter", None, 9, 2)
    assert dict(parse_qsl(calls[0].body.decode())) == {"client_id": "app", "scope": "a"}
    assert run(start_device(kind(grant="device_code"), GIVEN, AT), (200, TOLD))[0].interval_s == 5


@pytest.mark.parametrize(
    "told",
    [
        {}, [], {**TOLD, "user_code": "\x1b[2J"}, {**TOLD, "user_code": ""}, {**TOLD, "user_code": "a" * 99}, {**TOLD, "verification_uri": "http://as.test"},
        {**TOLD, "verification_uri": "javascript:alert(1)"}, {**TOLD, "verification_uri": "https://a.test/\x1b]0;x"}, {**TOLD, "device_code": None},
    ],
)  # fmt: skip
def test_p5_what_cannot_be_shown_is_refused(told):
    detail(run(start_device(kind(grant="device_code"), GIVEN, AT), (200, told))[0])


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": "authorization_pending"}, "pending"), (400, {"error": "slow_down"}, "slow_down"), (200, {"error": "authorization_pending"}, "pending"),
        (400, {"error": "access_denied"}, "said no"), (400, {"error": "expired_token"}, "in time"), (400, {"error": "invalid_client"}, "client"),
    ],
)  # fmt: skip
def test_a_poll_goes_on_or_ends(status, body, expected):
    device = Device("dc", "X", f"{ISSUER}/enter", None, 9, 2)
    polled, calls = run(poll(kind(grant="device_code"), GIVEN, AT, device), (status, body))
    assert polled == expected or expected in detail(polled)
    assert dict(parse_qsl(calls[0].body.decode()))["device_code"] == "dc"


def test_slow_down_adds_five_seconds_for_good_and_silence_doubles():
    pace, seen = Pace(5), []
    for answer in ("pending", "slow_down", "pending", "slow_down", "no_answer", "pending"):
        pace.after(answer)
        seen.append(pace.interval_s)
    assert seen == [5, 10, 10, 15, 30, 30]


# -- revocation ------------------------------------------------------------------------------------------------------


def test_a_server_that_wants_a_token_under_its_own_name_gets_one_of_them():
    kept = Kept(refresh_token="rt-number-1", access_token="at-number-1", issuer=ISSUER)
    done, (call,) = run(revoke(kind(connect={"revocation": "named"}), GIVEN, AT, kept), (200, b""))
    sent = dict(parse_qsl(call.body.decode()))
    assert (done, sent["refresh_token"], sent.keys() & {"token", "access_token"}) == (
        ("refresh_token",),
        "rt-number-1",
        set(),
    )


def test_the_refresh_token_is_revoked_first_and_errors_keep_it():
    kept = Kept(refresh_token="rt-number-1", access_token="at-number-1", issuer=ISSUER)
    done, calls = run(revoke(kind(), GIVEN, AT, kept), (200, b""), (400, {"error": "unsupported_token_type"}))
    assert done == ("refresh_token",)
    assert [dict(parse_qsl(call.body.decode()))["token"] for call in calls] == ["rt-number-1", "at-number-1"]
    busy, calls = run(revoke(kind(), GIVEN, AT, kept), (503, b"", {"retry-after": "7"}))
    assert (busy.retry_after_s, len(calls)) == (7, 1)
    failed, _ = run(revoke(kind(), GIVEN, AT, kept), (400, {"error": "invalid_client", "error_description": FOREIGN}))
    assert (failed.retry_after_s, FOREIGN in detail(failed)) == (None, False)


@pytest.mark.parametrize("issuer", ["https://other.test", f"{ISSUER}/", ""])
def test_p2_what_another_server_issued_is_not_shown_to_this_one(issuer):
    kept = Kept(refresh_token="rt-number-1", access_token="at-number-1", issuer=issuer)
    failed, calls = run(revoke(kind(), GIVEN, AT, kept), (200, b""), (200, b""))
    assert (calls, "another authorization server" in detail(failed)) == ([], True)


# -- where secrets may go --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grant", ["authorization_code", "device_code"])
def test_p2_secrets_are_bound_to_every_place_that_connecting_and_disconnecting_shows_them_to(grant):
    named = {
        f"{name}_endpoint": f"https://{name[:3]}.test/{{client_id}}"
        for name in ("device_authorization", "pushed_authorization_request", "revocation")
    }
    asking = kind(grant=grant, token_endpoint="https://token.test/", connect=named, endpoint_hosts=["more.test"])
    assert set(asking.endpoints({"client_id": "app"})) == {
        ISSUER, "https://token.test/", "https://dev.test/app", "https://pus.test/app", "https://rev.test/app", "https://more.test/"
    }  # fmt: skip
    assert "host" in kind(connect={"revocation_endpoint": "https://{host}/"}).variable_names()
    alone = kind(grant="client_credentials", token_endpoint="https://token.test/", connect=named)
    assert alone.endpoints({"client_id": "app"}) == ("https://token.test/",), "nobody else is asked"
