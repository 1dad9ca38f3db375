"""Logins with ID tokens that say anything, at the real sidecar: what buys a session, and what a session is worth."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import update

from proxy.api.logins import KeysUnavailableError, Logins
from proxy.clock import SystemClock
from proxy.db.engine import writing
from proxy.db.tables import approvals
from proxy.egress.dial import Dialler
from proxy.egress.http import HttpClient
from proxy.egress.resolver import Resolver
from proxy.identity.id_token import Refusal
from proxy.identity.operators import add_operator
from proxy.model import Role
from proxy.operator_settings import OidcProvider, RoleRule
from proxy.settings import Settings
from tests.api.conftest import APPROVALS, BOTH, administered, slug
from tests.api.oidc import CLIENT, ISSUER, KEY, ROLES, exchanged, id_token, logged_in, provider, verifier
from tests.fakes.issuer import HOST, JwksServer, new_key, part, token
from tests.rig import Provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.api.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
USER = {"claim": "email", "map": {"ann@example.test": "ann"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BOTH)
async def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    database = request.getfixturevalue("server") if request.param == "postgresql" else None
    folder = tmp_path_factory.mktemp("logins")
    operators = {"oidc": [provider(folder, user=USER)]}
    async with administered(folder, database, operators=operators, users={"ann": {"accounts": ["*"]}}) as api:
        yield api


async def test_where_to_log_in_is_told_to_anybody_but_a_web_page(desk: Api) -> None:
    answer = await desk.call(None, "GET", "/logins")
    [way] = answer.json()["logins"]
    assert (way["label"], way["client_id"], way["scope"]) == ("own", CLIENT, "openid")
    for header in ({"Origin": "http://localhost"}, {"Sec-Fetch-Site": "cross-site"}):
        assert slug(await desk.call(None, "GET", "/logins", **header)) == "origin_refused"
        assert slug(await desk.call(None, "POST", "/sessions", {}, **header)) == "origin_refused"
    assert slug(await desk.call(None, "GET", "/logins", Host="evil.example")) == "misdirected"


async def test_a_login_is_an_operator_with_the_first_role_that_fits_and_a_receipt(desk: Api) -> None:
    session = await logged_in(desk, "ann")
    assert (session["name"], session["role"]) == ("own/ann", "approver")
    me = (await desk.call("ann", "GET", "/whoami")).json()
    assert me == {
        "name": "own/ann", "role": "approver", "token_role": "approver", "tenant": None, "via": f"session:{session['id']}",
    }  # fmt: skip
    change = (await desk.changes())[0]
    assert (change["change"], change["by"], change["target"], change["role"]) == (
        "operator_login", "own/ann", "own/ann", "approver",
    )  # fmt: skip
    id_ = await desk.pending("/voted")
    voted = await desk.call("ann", "POST", f"/approvals/{id_}/votes", {"approve": True})
    assert [one["approver"] for one in voted.json()["votes"]] == ["own/ann"]
    assert (await desk.changes())[0]["by"] == "own/ann"
    assert slug(await desk.call("ann", "POST", "/agents", {"name": "x"})) == "forbidden"


def wrong(api: Api, secret: str) -> dict[str, str]:
    """Tokens that are each wrong in one way."""
    head, body, _ = id_token(api, secret).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    shared = new_key("HS256", "one")
    return {
        "audience": id_token(api, secret, aud="another"),
        "audience of several without azp": id_token(api, secret, aud=[CLIENT, "another"]),
        "azp": id_token(api, secret, azp="another"),
        "azp of several": id_token(api, secret, aud=[CLIENT, "another"], azp="another"),
        "issuer": id_token(api, secret, iss="https://id.example.test/"),
        "nonce": id_token(api, secret, nonce="another"),
        "no nonce": id_token(api, secret, nonce=None),
        "expired": id_token(api, secret, exp=1_700_000_000),
        "no exp": id_token(api, secret, exp=None),
        "old": id_token(api, secret, iat=1_700_000_000),
        "no iat": id_token(api, secret, iat=None),
        "future": id_token(api, secret, iat=4_000_000_000),
        "no subject": id_token(api, secret, sub=None),
        "a subject that is no name": id_token(api, secret, sub="ann\u202e"),
        "a subject with a slash": id_token(api, secret, sub="x/ann"),
        "an access token": id_token(api, secret, header={"typ": "at+jwt"}),
        "another key": id_token(api, secret, key=new_key("ES256", "one")),
        "an unknown key": id_token(api, secret, key=new_key("ES256", "two")),
        "an algorithm that is not listed": id_token(api, secret, key=new_key("ES384", "one"), algorithm="ES384"),
        "a shared key": id_token(api, secret, key=shared, algorithm="HS256"),
        "none": f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.",
        "none with a signature": f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.{part(b'x')}",
        "cut": f"{head}.{body}",
        "embedded key": id_token(api, secret, key=new_key("ES256", "one"), header={"jwk": KEY.as_dict(private=False)}),
    }  # fmt: skip


async def test_p5_what_is_wrong_buys_nothing_and_is_receipted(desk: Api) -> None:
    for name in wrong(desk, verifier()):
        secret = verifier()
        before = len(await desk.changes())
        answer = await exchanged(desk, wrong(desk, secret)[name], secret)
        assert slug(answer) == "unauthenticated", name
        assert "token" not in answer.json(), name
        changes = await desk.changes()
        assert len(changes) == before + 1, name
        assert (changes[0]["change"], changes[0]["by"]) == ("operator_login", "-"), name
        assert changes[0]["refused"] in ("token", "audience", "nonce", "name"), name
        desk.elsewhere()


async def test_whom_no_rule_fits_has_no_role_and_is_named_in_the_receipt(desk: Api) -> None:
    for groups in (["other"], "other", {"admins": True}, None, [["admins"]]):
        secret = verifier()
        answer = await exchanged(desk, id_token(desk, secret, groups=groups), secret)
        assert slug(answer) == "forbidden"
        change = (await desk.changes())[0]
        assert (change["by"], change["refused"]) == ("own/ann", "no_role")


async def test_one_id_token_buys_one_session_also_spelt_another_way(desk: Api) -> None:
    secret = verifier()
    text = id_token(desk, secret)
    assert (await exchanged(desk, text, secret)).status_code == 201
    # The last character of the signature has bits that decode to nothing; and the provider may issue it again.
    respelt = text[:-1] + chr(ord(text[-1]) + 1) if text[-1] in "AEIMQUYcgkosw048" else text
    for again in (text, respelt, id_token(desk, secret)):
        assert slug(await exchanged(desk, again, secret)) == "unauthenticated"
    change = (await desk.changes())[0]
    assert (change["by"], change["refused"]) == ("own/ann", "replayed")


async def test_of_exchanges_at_the_same_moment_one_wins(desk: Api) -> None:
    secret = verifier()
    text = id_token(desk, secret, sub="twin")
    answers = await asyncio.gather(*(exchanged(desk, text, secret) for _ in range(6)))
    assert sorted(one.status_code for one in answers) == [201, *[401] * 5]


async def test_a_token_without_nonce_counts_only_where_devices_log_in_and_once(desk: Api) -> None:
    [known] = desk.rig.sidecar.pipeline.generation.settings.operators.oidc
    text = id_token(desk, verifier(), nonce=None)
    async with configured(desk, known.model_copy(update={"device": True})):
        respelt = text[:-1] + chr(ord(text[-1]) + 1) if text[-1] in "AEIMQUYcgkosw048" else text
        assert (await exchanged(desk, text, verifier())).status_code == 201
        for again in (text, respelt):
            assert slug(await exchanged(desk, again, verifier())) == "unauthenticated"
        assert slug(await exchanged(desk, id_token(desk, verifier(), nonce=""), verifier())) == "unauthenticated"
    assert slug(await exchanged(desk, id_token(desk, verifier(), nonce=None), verifier())) == "unauthenticated"


async def test_an_id_token_is_worth_nothing_without_its_verifier_or_at_another_api(desk: Api) -> None:
    secret = verifier()
    text = id_token(desk, secret)
    assert slug(await exchanged(desk, text, verifier())) == "unauthenticated"
    assert desk.rig.sidecar.api is not None
    elsewhere = f"localhost:{desk.rig.sidecar.api[1]}"  # one of our names, but not the one that it was made for
    answer = await desk.call(None, "POST", "/sessions", {"id_token": text, "verifier": secret}, Host=elsewhere)
    assert slug(answer) == "unauthenticated"
    assert (await exchanged(desk, text, secret)).status_code == 201


async def test_o08_failed_logins_are_throttled_and_then_leave_no_receipts(desk: Api) -> None:
    answers = [await exchanged(desk, "a.b.c", verifier()) for _ in range(14)]
    assert [slug(one) for one in answers] == ["unauthenticated"] * 10 + ["throttled"] * 4
    assert int(answers[-1].headers["retry-after"]) > 0
    refused = [one for one in await desk.changes() if one.get("via", "").startswith("oidc:") and one["by"] == "-"]
    count = len(refused)
    await exchanged(desk, "a.b.c", verifier())
    again = [one for one in await desk.changes() if one.get("via", "").startswith("oidc:") and one["by"] == "-"]
    assert len(again) == count
    await logged_in(desk, "late")  # a right one passes all the same


async def test_o09_a_tenants_admin_sees_and_changes_that_tenant_alone(desk: Api) -> None:
    await logged_in(desk, "rae", groups=["research"])
    me = (await desk.call("rae", "GET", "/whoami")).json()
    assert (me["role"], me["tenant"]) == ("admin", "elsewhere")
    assert (await desk.call("rae", "GET", "/agents")).json() == {"agents": []}
    id_ = await desk.pending("/of-main")
    assert slug(await desk.call("rae", "POST", f"/approvals/{id_}/votes", {"approve": True})) == "not_found"
    await logged_in(desk, "ada", groups=["admins"])
    mine = await logged_in(desk, "bob")
    names = {one["name"] for one in (await desk.call("rae", "GET", "/sessions")).json()["sessions"]}
    assert names == {"own/rae"}
    assert slug(await desk.call("rae", "DELETE", f"/sessions/{mine['id']}")) == "not_found"
    everybody = {one["name"] for one in (await desk.call("ada", "GET", "/sessions")).json()["sessions"]}
    assert {"own/rae", "own/ada", "own/bob"} <= everybody


async def test_a_session_ends_at_once_by_logout_or_by_an_admin_with_receipts(desk: Api) -> None:
    await logged_in(desk, "ann")
    assert (await desk.call("ann", "DELETE", "/sessions/current")).json() == {"done": True}
    assert slug(await desk.call("ann", "GET", "/whoami")) == "unauthenticated"
    assert [(one["change"], one["by"]) for one in (await desk.changes())[:1]] == [("operator_logout", "own/ann")]
    mine = await logged_in(desk, "bob")
    theirs = await logged_in(desk, "eve")
    assert slug(await desk.call("bob", "DELETE", f"/sessions/{theirs['id']}")) == "not_found"
    assert (await desk.call("admin", "DELETE", f"/sessions/{mine['id']}")).status_code == 200
    assert slug(await desk.call("bob", "GET", "/whoami")) == "unauthenticated"
    change = (await desk.changes())[0]
    assert (change["change"], change["target"], change["by"]) == ("session_revoke", "own/bob", "admin")
    assert slug(await desk.call("viewer", "DELETE", "/sessions/current")) == "not_found"  # a token is no session


async def test_an_open_stream_ends_with_its_session(desk: Api) -> None:
    session = await logged_in(desk, "ann")
    async with desk.client("ann") as client, client.stream("GET", "/api/v1/approval-events") as stream:
        assert stream.status_code == 200
        assert (await desk.call("admin", "DELETE", f"/sessions/{session['id']}")).status_code == 200
        async with asyncio.timeout(5):
            async for _ in stream.aiter_bytes():
                pass


async def test_o09_a_stream_of_all_tenants_ends_where_its_operator_gets_one(desk: Api) -> None:
    """A rule that has a tenant after a reload: what is open must not go on to tell of the others."""
    [known] = desk.rig.sidecar.pipeline.generation.settings.operators.oidc
    await logged_in(desk, "ann")
    rules = [{**rule.model_dump(mode="json"), "tenant": "elsewhere"} for rule in known.roles]
    async with desk.client("ann") as client, client.stream("GET", "/api/v1/approval-events") as stream:
        assert stream.status_code == 200
        async with configured(desk, known.model_copy(update={"roles": tuple(map(RoleRule.model_validate, rules))})):
            await desk.pending("/told-to-nobody-else")
            seen = b""
            async with asyncio.timeout(5):
                async for some in stream.aiter_bytes():
                    seen += some
    assert b"told-to-nobody-else" not in seen


async def test_a_login_can_ask_for_less_and_for_a_shorter_time_never_for_more(desk: Api) -> None:
    secret = verifier()
    less = (await exchanged(desk, id_token(desk, secret), secret, role="viewer", ttl_s=60)).json()
    desk.tokens["less"] = less["token"]
    assert (await desk.call("less", "GET", "/whoami")).json()["token_role"] == "viewer"
    id_ = await desk.pending("/less")
    assert slug(await desk.call("less", "POST", f"/approvals/{id_}/votes", {"approve": True})) == "forbidden"
    secret = verifier()
    more = (await exchanged(desk, id_token(desk, secret), secret, role="admin", ttl_s=86_400)).json()
    desk.tokens["more"] = more["token"]
    assert slug(await desk.call("more", "GET", "/operators")) == "forbidden"
    assert more["expires_at_ms"] - less["expires_at_ms"] < 28_800_000  # session_s, not what was asked


async def test_a_name_is_kept_and_nobody_else_gets_it(desk: Api) -> None:
    [known] = desk.rig.sidecar.pipeline.generation.settings.operators.oidc
    renamed = known.model_copy(update={"name": "email"})
    await logged_in(desk, "ann")
    async with configured(desk, renamed):
        secret = verifier()
        taken = await exchanged(desk, id_token(desk, secret, sub="impostor", email="ann"), secret)
        first = await logged_in(desk, "ann", email="other@example.test")
    assert slug(taken) == "conflict"
    assert first["name"] == "own/ann"
    refused = [one for one in await desk.changes() if one.get("refused") == "name_taken"]
    assert refused[0]["by"] == "own/ann"


async def test_whoever_loses_the_rule_loses_access_at_once_and_a_new_group_counts_at_the_next_login(desk: Api) -> None:
    [known] = desk.rig.sidecar.pipeline.generation.settings.operators.oidc
    await logged_in(desk, "kim", groups=["approvers"])
    await logged_in(desk, "lee", groups=["staff", "new"])
    rules = [rule.model_dump(mode="json") for rule in known.roles]
    changed = [{**rule, "role": "viewer"} if rule["value"] == "approvers" else rule for rule in rules]
    new = {"claim": "groups", "value": "new", "role": "admin", "tenant": None}
    async with configured(desk, with_roles(known, [new, *changed])):
        assert (await desk.call("kim", "GET", "/whoami")).json()["role"] == "viewer"
        assert (await desk.call("lee", "GET", "/whoami")).json()["role"] == "viewer"
        await logged_in(desk, "lee", groups=["staff", "new"])
        assert (await desk.call("lee", "GET", "/whoami")).json()["role"] == "admin"
    async with configured(desk, with_roles(known, [rule for rule in rules if rule["value"] != "approvers"])):
        assert slug(await desk.call("kim", "GET", "/whoami")) == "unauthenticated"
    async with configured(desk):
        assert slug(await desk.call("kim", "GET", "/whoami")) == "unauthenticated"
    async with configured(desk, known.model_copy(update={"session_s": 60})):
        assert (await desk.call("kim", "GET", "/whoami")).status_code == 200
        with writing(desk.shared) as connection:
            connection.exec_driver_sql("UPDATE operator_sessions SET created_at_ms = created_at_ms - 61000")
        assert slug(await desk.call("kim", "GET", "/whoami")) == "unauthenticated"


async def test_j07_j10_nobody_decides_about_a_call_on_their_own_behalf_by_another_name() -> None:
    from proxy.approval.entitled import unfit
    from proxy.model import Operator, Role

    def known(user: str | None, *, anybody: bool = False) -> Operator:
        return Operator("own/00u1", Role.APPROVER, Role.APPROVER, None, "session:x", user, anybody)

    def own(by: Operator, agent: str, user: str | None) -> bool:
        return unfit(by, tenant="main", agent=agent, user=user) is not None

    assert own(known("ann"), "helper", "ann")
    assert own(known("ann"), "ann", None)
    assert not own(known("ann"), "helper", "bob")
    assert not own(known(None), "helper", "bob")
    assert own(known(None, anybody=True), "helper", "bob")  # nobody says which user they are
    assert not own(known(None, anybody=True), "helper", None)


async def test_j07_an_operator_who_is_the_user_decides_nothing_about_that_users_calls(desk: Api) -> None:
    """J-07, J-10: the approver never equals the agent or its user, also where they are known by another name."""
    await logged_in(desk, "00u1", email="ann@example.test")
    await logged_in(desk, "00u2", email="bob@example.test")
    id_ = await desk.pending("/for-ann")
    with writing(desk.shared) as connection:  # as if the agent had made it on behalf of ann
        connection.execute(update(approvals).where(approvals.c.id == id_).values(user="ann"))
    vote = ("POST", f"/approvals/{id_}/votes", {"approve": True})
    assert slug(await desk.call("00u1", *vote)) == "own_request"
    change = (await desk.changes())[0]
    assert (change["by"], change["refused"]) == ("own/00u1", "own_request")
    [known] = desk.rig.sidecar.pipeline.generation.settings.operators.oidc
    async with configured(desk, known.model_copy(update={"user": None})):
        assert slug(await desk.call("00u2", *vote)) == "own_request"  # who knows
    assert (await desk.call("00u2", *vote)).json()["approval"]["state"] == "approved"


async def test_j10_a_quorum_counts_people_not_their_names(tmp_path: Path) -> None:
    """J-10: a local operator, and an account at the provider that is the user of that name: one yes, one behind a grant."""
    operators, users = {"oidc": [provider(tmp_path, user=USER)]}, {"ann": {"accounts": ["*"]}}
    quorum = {**APPROVALS, "approvers": 2}
    async with administered(tmp_path, approvals=quorum, operators=operators, users=users) as api:
        await logged_in(api, "00u1", email="ann@example.test")
        api.tokens["ann"] = add_operator(api.database, "ann", Role.APPROVER, clock=SystemClock()).token
        id_ = await api.pending("/quorum")
        vote = ("POST", f"/approvals/{id_}/votes", {"approve": True})
        for who, name in (("ann", "ann"), ("00u1", "own/00u1"), ("ann", "ann")):
            voted = (await api.call(who, *vote)).json()["approval"]
            assert (voted["state"], voted["approvers"]) == ("pending", [name])
        form = {"for_s": 600, "max_uses": 5, "max_cost_microusd": 0, "path": "/quorum"}
        voted = (await api.call("approver", *vote[:2], {"approve": True, "grant": form})).json()
        assert voted["approval"]["state"] == "approved"
        assert (await api.rig.call("POST", "/quorum", content=b'{"title":"one"}')).status == 200

        id_ = await api.pending("/granted")
        form["path"] = "/granted"
        asked = {"approve": True, "grant": form}
        voted = (await api.call("ann", "POST", f"/approvals/{id_}/votes", asked)).json()
        again = await api.call("00u1", "POST", f"/approval-grants/{voted['grant']}/seconds", {})
        assert again.json()["approvers"] == ["own/00u1"]
        await api.pending("/granted", b'{"title":"two"}')
        again = await api.call("approver", "POST", f"/approval-grants/{voted['grant']}/seconds", {})
        assert again.json()["approvers"] == ["own/00u1", "approver"]
        assert (await api.rig.call("POST", "/granted", content=b'{"title":"two"}')).status == 200


async def test_j07_the_token_of_a_session_is_none_of_an_agent_and_is_kept_as_a_digest(desk: Api) -> None:
    """J-07: and the other way round, `test_admission.py`."""
    token = (await logged_in(desk, "ann"))["token"]
    asked = await desk.rig.call("GET", "/seen", agent="tester")
    assert asked.status == 200
    desk.rig.tokens["nobody"] = token
    with pytest.raises(httpx.ProxyError, match="407"):
        await desk.rig.call("GET", "/seen", agent="nobody")
    with desk.shared.connect() as connection:
        assert token not in str(connection.exec_driver_sql("SELECT * FROM operator_sessions").fetchall())


async def test_a_new_key_of_the_provider_is_fetched_but_not_for_everybody_who_names_one(tmp_path: Path) -> None:
    """The real service at a real key server: an unknown `kid` makes it ask again, at most every 30 s."""
    upstream = Provider(tmp_path, (HOST,))
    await upstream.start()
    try:
        first, second = new_key("ES256", "first"), new_key("ES256", "second")
        server, clock = JwksServer([first]), MovedClock()
        upstream.on("/keys", server)
        url = f"https://{HOST}:{upstream.port}/keys"
        described = provider(tmp_path, jwks_url=url, ca_file=str(upstream.root), jwks_file=None)
        operators = {"version": 1, "operators": {"oidc": [described]}}
        settings = Settings.model_validate_json(json.dumps(operators))
        resolver = Resolver(clock=clock, timeout_s=1.0, hosts={HOST: ("127.0.0.1",)})
        dialler = Dialler(resolver=resolver, connect_timeout_s=5.0, own_listeners=frozenset)
        logins = Logins(HttpClient(dialler=dialler, timeout_s=5.0), lambda: settings, clock)

        async def tried(key: Any) -> str:
            claims = {"now": clock.wall_ms() / 1000, "iss": ISSUER, "aud": CLIENT, "sub": "ann", "groups": ["staff"]}
            found = await logins.person(token(key, "ES256", nonce="n", nbf=None, **claims), "n")
            return found.fault if isinstance(found, Refusal) else found[1].name

        assert await tried(first) == "own/ann"
        assert await tried(first) == "own/ann"
        assert server.fetched == 1
        server.keys = [first, second]
        assert await tried(second) == "token"  # asked a moment ago
        clock.moved_s += 31
        for _ in range(5):
            await tried(new_key("ES256", "of nobody"))
        assert server.fetched == 2
        assert await tried(second) == "own/ann"
        server.status = 500
        clock.moved_s += 3900  # longer than keys that cannot be fetched are believed
        with pytest.raises(KeysUnavailableError):
            await tried(first)
    finally:
        await upstream.stop()


class MovedClock(SystemClock):
    moved_s = 0.0

    def wall_ms(self) -> int:
        return super().wall_ms() + int(self.moved_s * 1000)

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.moved_s


def with_roles(known: OidcProvider, roles: list[dict[str, Any]]) -> OidcProvider:
    value = {**known.model_dump(mode="json"), "roles": roles}
    return OidcProvider.model_validate_json(json.dumps(value))


def configured(api: Api, *providers: OidcProvider) -> Any:
    """These in place of those of the configuration, by a reload; the old ones at the end."""
    from contextlib import asynccontextmanager
    from dataclasses import replace

    @asynccontextmanager
    async def changed() -> AsyncIterator[None]:
        sidecar = api.rig.sidecar
        old = sidecar._configuration
        operators = old.settings.operators.model_copy(update={"oidc": providers})
        await sidecar.reload(replace(old, settings=old.settings.model_copy(update={"operators": operators})))
        try:
            yield
        finally:
            await sidecar.reload(old)

    return changed()


async def test_p5_two_that_could_be_taken_for_each_other_are_refused(tmp_path: Path) -> None:
    """J-07: neither two providers, nor an agent's token and an operator's."""
    from proxy.catalog.operator_checks import operator_mistakes

    one = provider(tmp_path)
    agents = {"issuer": ISSUER, "audience": CLIENT, "jwks_file": one["jwks_file"], "agent": {"match": "{agent}"}}
    for operators, identity, words in (
        ([one, {**one, "client_id": "another"}], [], "label"),
        ([one, {**one, "label": "second"}], [], "stand here twice"),
        ([one], [agents], "agents may authenticate"),
    ):
        value = {"version": 1, "operators": {"oidc": operators}, "identity": {"tokens": identity}}
        settings = Settings.model_validate_json(json.dumps(value))
        [(_, message)] = operator_mistakes(settings)
        assert words in message


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"roles": []}, "at least 1"),
        ({"roles": None}, "roles"),
        ({"issuer": "http://id.example.test"}, "issuer"),
        ({"jwks_file": "none.json"}, "no such file"),
        ({"roles": [{**ROLES[0], "tenant": "nowhere"}]}, "no such tenant"),
        ({"user": {"claim": "email"}}, "give map, or match"),
        ({"user": {"claim": "email", "map": {"a": "nobody"}}}, "no such user"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
    ],
    ids=str,
)
async def test_p5_a_provider_that_is_described_badly_is_refused(
    tmp_path: Any, changed: dict[str, Any], words: str
) -> None:
    from proxy.catalog.configuration import load_configuration
    from proxy.errors import ConfigError

    described = {name: value for name, value in provider(tmp_path, **changed).items() if value is not None}
    settings = {"version": 1, "tenants": ["elsewhere"], "operators": {"oidc": [described]}}
    (tmp_path / "briefcased.yaml").write_text(json.dumps(settings))
    with pytest.raises(ConfigError) as caught:
        load_configuration(tmp_path / "briefcased.yaml")
    assert words in str(caught.value)
