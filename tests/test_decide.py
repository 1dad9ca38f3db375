"""P2, P5, P6: `decide()` as a table: who may call what, with which account, and what of the call is left."""

from __future__ import annotations

import base64
from dataclasses import replace

import orjson
import pytest

from proxy.canonical.path import canonical_path
from proxy.catalog.configuration import Configuration, mistakes
from proxy.catalog.schema import Profile
from proxy.decision import Decision, decide
from proxy.documents import Document
from proxy.errors import Denial
from proxy.generation import build_generation
from proxy.model import Agent, Authority, RequestHead
from proxy.settings import Settings

ALPHA = """\
schema: 1
name: alpha
title: Alpha
docs: https://alpha.example
checked: "2026-11-24"
hosts:
  - {host: api.alpha.example, http_upgrade: true}
  - {host: part.alpha.example, paths: [/v1]}
secrets:
  token: {stand_in: {template: "alp_{base62:20}"}}
  other: {stand_in: {template: "alo_{base62:20}"}}
credentials:
  bearer: {kind: header, prefix: "Bearer ", secret: token}
  second: {kind: header, header: X-Second, secret: other}
strip_headers: [X-Alpha-Key]
strip_query: [key]
owned_headers: [Alpha-Account]
owned_query: [tenant]
operations:
  - {id: read, methods: [GET], path: "/**", action: read}
  - {id: open, methods: [GET], path: /open, action: read, anonymous: true}
  - {id: write, methods: [POST], path: "/**", action: write, limits: {max_body_bytes: 100}}
  - {id: admin, methods: [DELETE], path: "/**", action: admin}
  - {id: other, methods: [GET], path: /other, action: read, credentials: [second]}
  - {id: ranged, methods: [GET], path: /ranged, action: read, allow_range: true}
  - {id: socket, methods: [GET], path: /socket, action: write, websocket: true}
"""
BETA = """\
schema: 1
name: beta
title: Beta
docs: https://beta.example
checked: "2026-11-24"
hosts: [{host: "*.beta.example"}]
secrets: {token: {stand_in: {template: "bet_{base62:20}"}}}
credentials: {key: {kind: query, parameter: key, secret: token}}
operations: [{id: all, methods: [GET, POST], path: "/**", action: read}]
"""
PROFILES = {name: Document(name, text).validated(Profile) for name, text in (("alpha", ALPHA), ("beta", BETA))}
NOW_MS = 1_764_115_200_000
ACCOUNTS = {
    "work": {"secrets": {"token": "file:/w"}, "default": True, "headers": {"Alpha-Account": "acct-1"}, "query": {"tenant": "t&1"}},
    "home": {"secrets": {"token": "file:/h", "other": "file:/o"}, "actions": ["read"]},
    "boss": {"secrets": {"token": "file:/b"}, "actions": ["read", "write", "admin"]},
}  # fmt: skip
AGENTS = {
    "all": Agent("all", ("*",), "t1"),
    "alpha": Agent("alpha", ("alpha/*",), "t2"),
    "home": Agent("home", ("alpha/home",), "t3"),
    "two": Agent("two", ("alpha/home", "alpha/boss"), "t4"),
    "beta": Agent("beta", ("beta/*",), "t5"),
    "none": Agent("none", (), "t6"),
}


def generation(providers=None, **settings):
    alpha, beta = {"accounts": ACCOUNTS}, {"accounts": {"main": {"secrets": {"token": "file:/m"}}}}
    raw = {"version": 1, "providers": {"alpha": alpha, "beta": beta} if providers is None else providers, **settings}
    loaded = Settings.model_validate_json(orjson.dumps(raw))
    assert list(mistakes(loaded, PROFILES)) == []
    return build_generation(7, Configuration(loaded, PROFILES), AGENTS.values(), stand_in_key=b"k" * 32)


GENERATION = generation()


def held(agent, account, slot="token"):
    """The stand-in that `agent` holds for `account`."""
    (value,) = {
        s.value for s in GENERATION.stand_ins.all if (s.agent, str(s.account), s.slot) == (agent, account, slot)
    }
    return value


def head(method="GET", target="/x", host="api.alpha.example", headers=(), port=443, scheme="https", **rest):
    path, mark, query = target.partition("?")
    normal = canonical_path(path, encoded_slash=False)
    assert isinstance(normal, tuple), normal
    given = tuple(headers.items()) if isinstance(headers, dict) else tuple(headers)
    return RequestHead(
        method, scheme, Authority(host, port), *normal, query if mark else None, given, **{"has_body": False, **rest}
    )


def decided(agent="all", *, of=GENERATION, **call):
    return decide(of, AGENTS[agent], head(**call), now_ms=NOW_MS)


def bearer(value):
    return {"authorization": f"Bearer {value}"}


def basic(pair):
    return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


BY_STAND_IN = (
    ("all", "alpha/work"), ("all", "alpha/home"), ("all", "alpha/boss"), ("alpha", "alpha/boss"), ("home", "alpha/home"), ("two", "alpha/boss"),
)  # fmt: skip


@pytest.mark.parametrize(("agent", "account"), BY_STAND_IN)
def test_p6_a_stand_in_chooses_its_account_wherever_it_stands(agent, account):
    value = held(agent, account)
    calls = (
        {"headers": bearer(value)}, {"headers": {"x-alpha-key": value}}, {"headers": basic(f"user:{value}")}, {"headers": basic(f"{value}:")},
        {"headers": {"cookie": f"a=1; b={value}"}}, {"target": f"/x?key={value}"}, {"target": "/x?key=" + value.replace("_", "%5F")}, {"target": f"/{value}/x"},
    )  # fmt: skip
    assert {str(decided(agent, **call).account.id) for call in calls} == {account}


@pytest.mark.parametrize(
    ("agent", "account"),
    [
        ("all", "alpha/work"),
        ("alpha", "alpha/work"),
        ("home", "alpha/home"),
        ("two", None),
        ("beta", None),
        ("none", None),
    ],
)
def test_p6_without_one_it_is_the_default_or_the_only_one_that_the_agent_may_use(agent, account):
    found = decided(agent)
    if account is None:
        assert (found.slug, found.by) == ("policy_denied", "policy")
    else:
        assert str(found.account.id) == account


WRONG = {
    "of another provider": ("all", bearer(held("all", "beta/main"))),
    "of another agent": ("all", bearer(held("alpha", "alpha/work"))),
    "of another agent, same grants": ("home", bearer(held("two", "alpha/home"))),
    "of two accounts": ("all", {**bearer(held("all", "alpha/work")), "x-alpha-key": held("all", "alpha/home")}),
    "one right, one of another provider": (
        "all",
        {**bearer(held("all", "alpha/work")), "x-note": held("all", "beta/main")},
    ),
    "one right, one of another agent": (
        "all",
        {**bearer(held("all", "alpha/work")), "cookie": held("alpha", "alpha/work")},
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_p2_p6_d05_a_stand_in_at_the_wrong_place_is_refused_with_its_own_message(name):
    agent, headers = WRONG[name]
    found = decided(agent, headers=headers)
    assert isinstance(found, Denial)
    assert (found.slug, found.by, found.status) == ("credential_scope", "identify", 403)
    assert not any(value in found.detail for value in headers.values())


def test_p2_d05_a_stand_in_in_the_query_of_the_wrong_host_is_refused():
    value = held("all", "alpha/work")
    for target in (f"/x?key={value}", f"/x?note={value}", f"/{value}"):
        assert decided(target=target, host="a.beta.example").slug == "credential_scope"


def test_two_stand_ins_of_one_account_agree():
    headers = {**bearer(held("all", "alpha/home")), "x-second": held("all", "alpha/home", "other")}
    assert str(decided(headers=headers).account.id) == "alpha/home"


REFUSED = {
    "an unknown host": ({"host": "evil.test"}, "destination_not_allowed"),
    "the apex of a wildcard": ({"host": "beta.example"}, "destination_not_allowed"),
    "two labels under a wildcard": ({"host": "a.b.beta.example"}, "destination_not_allowed"),
    "another port": ({"port": 8443}, "destination_not_allowed"),
    "http to a port of no http": ({"scheme": "http", "port": 8080}, "credential_scope"),
    "http where only https is": ({"scheme": "http", "port": 80, "host": "a.beta.example"}, "credential_scope"),
    "http on the port of https": ({"scheme": "http", "port": 443}, "operation_not_allowed"),
    "another part of a shared host": ({"host": "part.alpha.example", "target": "/v2/x"}, "operation_not_allowed"),
    "a part by prefix only": ({"host": "part.alpha.example", "target": "/v1x"}, "operation_not_allowed"),
    "a method that is not listed": ({"method": "PUT"}, "operation_not_allowed"),
    "a socket where none is": ({"websocket": True}, "operation_not_allowed"),
    "an action the account lacks": ({"method": "DELETE"}, "policy_denied"),
    "a body beyond the operation's": ({"method": "POST", "content_length": 101, "has_body": True}, "request_too_large"),
    "no secret that fits": ({"target": "/other"}, "not_connected"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_p5_what_is_not_allowed_is_refused(name):
    call, slug = REFUSED[name]
    found = decided(**call)
    assert isinstance(found, Denial)
    assert found.slug == slug


@pytest.mark.parametrize(("account", "method", "allowed"), [
    ("work", "GET", True), ("work", "POST", True), ("work", "DELETE", False), ("home", "GET", True), ("home", "POST", False),
    ("home", "DELETE", False), ("boss", "DELETE", True),
])  # fmt: skip
def test_p5_an_account_allows_its_actions_and_admin_must_be_named(account, method, allowed):
    found = decided(method=method, headers=bearer(held("all", f"alpha/{account}")))
    assert isinstance(found, Decision) == allowed
    assert allowed or found.slug == "policy_denied"


@pytest.mark.parametrize("providers", [{}, {"beta": {"accounts": {"main": {"secrets": {"token": "file:/m"}}}}}])
def test_p5_a26_what_is_not_enabled_is_not_managed(providers):
    assert decided(of=generation(providers)).slug == "destination_not_allowed"


def test_p5_a_generation_without_accounts_has_no_yes():
    assert decided(of=replace(GENERATION, accounts={})).slug == "not_connected"
    assert decided(of=replace(GENERATION, accounts={"alpha": ()})).slug == "not_connected"


def test_p2_an_unmatched_host_that_is_let_through_gets_nothing_of_ours():
    of = generation(unmatched="pass")
    sent = head(host="elsewhere.test", headers={"authorization": "mine"})
    assert decide(of, AGENTS["all"], sent, now_ms=NOW_MS) == Decision(sent, None, None, None)
    assert decided(of=of, method="PUT").slug == "operation_not_allowed"
    assert decided(of=of, host="a.beta.example", scheme="http", port=80).slug == "credential_scope"
    assert decided(of=of, host="part.alpha.example", target="/v2").slug == "operation_not_allowed"


FOREIGN_HEADERS = (
    "authorization", "cookie", "cookie2", "x-api-key", "api-key", "apikey", "x-auth-token", "x-access-token", "x-goog-api-key",
    "x-amz-security-token", "private-token", "job-token", "dpop", "x-authorization", "x-alpha-key",
)  # fmt: skip


@pytest.mark.parametrize("target", ["/x", "/open"])
@pytest.mark.parametrize("name", FOREIGN_HEADERS)
def test_p2_d02_every_header_in_which_a_credential_could_come_is_taken_off(name, target):
    found = decided(target=target, headers=[(name, "mine"), ("x-kept", "1"), (name, "mine too")])
    assert [pair for pair in found.head.headers if pair[0] == name or "mine" in pair[1]] == []
    assert found.head.header("x-kept") == "1"


@pytest.mark.parametrize(
    "spelling",
    [
        "key=m",
        "KEY=m",
        "k%65y=m",
        "access_token=m",
        "api_key=m",
        "Api_Key=m",
        "apikey=m",
        "client_secret=m",
        "access%5Ftoken=m",
        "q=1;key=m",
        "key=m&key=n",
        "tenant=evil",
        "TENANT=evil",
    ],
)
def test_p2_d02_every_parameter_in_which_one_could_come_is_taken_off(spelling):
    found = decided(target=f"/x?a=1&{spelling}&b=2")
    assert found.head.query == ("a=1&q=1&b=2&tenant=t%261" if "q=1" in spelling else "a=1&b=2&tenant=t%261")


def test_p6_what_chooses_whose_account_is_used_is_the_accounts():
    headers = [("alpha-account", "evil"), ("alpha-account", "evil2")]
    found = decided(target="/x?tenant=evil", headers=headers)
    assert [value for name, value in found.head.headers if name == "alpha-account"] == ["acct-1"]
    home = decided(target="/x?tenant=evil", headers=[*headers, *bearer(held("all", "alpha/home")).items()])
    assert (home.head.header("alpha-account"), home.head.query) == (None, None)


def test_p2_what_leaves_goes_to_the_authority_that_was_decided_on():
    plain = decided()
    assert (plain.head.scheme, plain.head.authority) == ("https", Authority("api.alpha.example", 443))
    upgraded = decided(scheme="http", port=80)
    assert (upgraded.head.scheme, upgraded.head.authority) == ("https", Authority("api.alpha.example", 443))
    assert upgraded.credential[0] == "bearer"
    wild = decided(host="a.beta.example")
    assert wild.head.authority == Authority("a.beta.example", 443)


def test_an_anonymous_operation_gets_no_credential():
    assert decided(target="/open").credential is None
    assert decided(target="/open", agent="none").slug == "policy_denied"


@pytest.mark.parametrize(("target", "kept"), [("/x", set()), ("/ranged", {"range", "if-range"})])
def test_p1_ranges_which_would_defeat_the_scrubber_need_the_operations_leave(target, kept):
    found = decided(target=target, headers={"range": "bytes=0-1", "if-range": '"e"'})
    assert {name for name, _ in found.head.headers} & {"range", "if-range"} == kept


def test_p1_only_codings_that_the_scrubber_reads_are_asked_for():
    found = decided(headers={"accept-encoding": "gzip, x-compress, compress, exi"})
    (value,) = [value for name, value in found.head.headers if name == "accept-encoding"]
    assert {coding.strip().partition(";")[0] for coding in value.split(",")} <= {"gzip", "identity"}


def test_p8_deciding_again_on_what_was_decided_changes_nothing():
    once = decided(target="/x?a=1&key=m", headers={**bearer("mine"), "x-kept": "1"})
    again = decide(GENERATION, AGENTS["all"], once.head, now_ms=NOW_MS)
    assert sorted(again.head.headers) == sorted(once.head.headers)
    assert (again.head.path, again.head.query) == (once.head.path, once.head.query)


def test_p6_stand_ins_differ_by_agent_account_and_slot_and_exist_for_grants_only():
    every = GENERATION.stand_ins.all
    assert len({s.value for s in every}) == len(every)
    assert {str(s.account) for s in every if s.agent == "home"} == {"alpha/home"}
    assert [s for s in every if s.agent == "none"] == []
    assert held("all", "alpha/work") == generation().stand_ins.lookup(
        "all", GENERATION.accounts["alpha"][0].id, "token"
    )
