"""Who may use the control API: nobody who is not an operator, and no web page."""

from __future__ import annotations

import asyncio
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from proxy.api.problems import PROBLEMS
from proxy.api.sockets import AdminSocket
from proxy.db.engine import writing
from proxy.identity.operator_registry import OperatorRegistry, Unknown, by_uid
from proxy.identity.operators import add_operator, add_token, revoke_operator
from proxy.identity.store import list_agents
from proxy.model import Operator, Role
from proxy.operator_settings import LocalOperator, OperatorSettings
from tests.api.conftest import administered, slug
from tests.docs import pages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Api


class HandClock:
    wall = 1_900_000_000_000

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_s(self) -> float:
        return 5.0


on_the_loop = pytest.mark.asyncio(loop_scope="session")


@on_the_loop
@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer bco_abc"},
        {"Authorization": "Bearer bco_abcdefghijkl_" + "x" * 43},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer " + "y" * 4000},
        {"X-Forwarded-User": "admin"},
    ],
    ids=str,
)
async def test_o08_nobody_comes_in_without_a_right_token(api: Api, header: dict[str, str]) -> None:
    async with api.client(None, **header) as client:
        for path in ("/api/v1/whoami", "/api/v1/none", "/api/openapi.json", "/"):
            answer = await client.get(path)
            assert slug(answer) == "unauthenticated"
            assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)


@on_the_loop
async def test_j07_an_agents_credentials_are_worth_nothing(api: Api) -> None:
    token = api.rig.tokens["tester"]
    basic = httpx.BasicAuth("agent", token)
    async with api.client(None) as client:
        for auth in (basic, httpx.BasicAuth(token, "")):
            assert slug(await client.get("/api/v1/whoami", auth=auth)) == "unauthenticated"
        for headers in ({"Authorization": f"Bearer {token}"}, {"Proxy-Authorization": f"Bearer {token}"}):
            assert slug(await client.get("/api/v1/whoami", headers=headers)) == "unauthenticated"


@on_the_loop
async def test_j07_o07_the_api_is_not_reached_through_the_proxy(api: Api) -> None:
    async with api.rig.client() as client:
        answer = await client.get(
            f"{api.base}/api/v1/whoami", headers={"Authorization": f"Bearer {api.tokens['admin']}"}
        )
    assert answer.status_code == 403
    assert "name" not in answer.json()
    assert api.rig.sidecar.api in api.rig.sidecar.listeners()


@on_the_loop
async def test_j07_no_way_of_an_agent_leads_to_a_vote(api: Api) -> None:
    """J-07: not by another name of the address, not in a tunnel, not by the pages about the sidecar, not by a header."""
    id_ = await api.pending("/hairpin")
    assert api.rig.sidecar.api is not None
    port, path = api.rig.sidecar.api[1], f"/api/v1/approvals/{id_}/votes"
    admin = {"Authorization": f"Bearer {api.tokens['admin']}", "Content-Type": "application/json"}
    hosts = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "2130706433", "0x7f000001", "127.0.0.1.nip.test")
    async with api.rig.client() as client:
        for host in hosts:
            answer = await client.post(f"http://{host}:{port}{path}", content=b'{"approve":true}', headers=admin)
            assert answer.status_code in (400, 403), host
            with pytest.raises(httpx.ProxyError):  # no tunnel either
                await client.post(f"https://{host}:{port}{path}", content=b'{"approve":true}', headers=admin)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            page = await client.request(method, f"http://briefcased.internal/approvals/{id_}", headers=admin)
            assert page.status_code in (404, 405)
            page = await client.request(method, f"http://briefcased.internal{path}", headers=admin)
            assert page.status_code in (404, 405)
    host, own = api.rig.sidecar.proxy
    async with httpx.AsyncClient(base_url=f"http://{host}:{own}", trust_env=False, verify=False) as direct:
        answer = await direct.post(path, content=b'{"approve":true}', headers=admin)  # the agents' own listener
        assert answer.status_code in (400, 403, 404, 407)
    assert (await api.call("viewer", "GET", f"/approvals/{id_}")).json()["approval"]["state"] == "pending"


@on_the_loop
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "", "127.0.0.1:{port}.evil.example", "*"])
async def test_o05_o12_another_host_is_refused(api: Api, host: str) -> None:
    """J-07 too: a name that is rebound to us."""
    assert api.rig.sidecar.api is not None
    named = host.format(port=api.rig.sidecar.api[1])
    answer = await api.call("admin", "GET", "/whoami", Host=named)
    assert slug(answer) == "misdirected"
    assert named == "" or named not in answer.text


@on_the_loop
@pytest.mark.parametrize(
    "header",
    [
        {"Origin": "http://localhost"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
async def test_o01_o06_web_pages_are_refused(api: Api, header: dict[str, str]) -> None:
    for method, path in (("GET", "/whoami"), ("POST", "/agents"), ("OPTIONS", "/agents")):
        answer = await api.call("admin", method, path, **header)
        assert slug(answer) == "origin_refused"
        assert "access-control-allow-origin" not in answer.headers


@on_the_loop
async def test_o14_nothing_is_kept_framed_or_shared(api: Api) -> None:
    for who in ("admin", None):
        answer = await api.call(who, "GET", "/whoami")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["server"] == "briefcased"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@on_the_loop
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_o01_a_body_is_json_by_its_content_type(api: Api, kind: str) -> None:
    async with api.client("admin") as client:
        headers = {"Content-Type": kind}
        answer = await client.post("/api/v1/agents", content=b'{"name":"x","accounts":[]}', headers=headers)
    assert slug(answer) == "unsupported_media_type"


@on_the_loop
async def test_o13_bodies_are_bounded_and_strict(api: Api) -> None:
    async def sent(body: bytes) -> httpx.Response:
        async with api.client("operator") as client:
            return await client.post("/api/v1/agents", content=body, headers={"Content-Type": "application/json"})

    assert slug(await sent(b'{"name":"' + b"a" * 1_100_000 + b'"}')) == "too_large"
    for body in (b"", b"[]", b"{}", b'{"name":1}', b'{"name":"x","role":"admin"}', b'{"name":"X"}', b"{" * 5000):
        answer = await sent(body)
        assert slug(answer) == "invalid_request"
        assert answer.json()["errors"]
    assert slug(await api.call("viewer", "GET", "/receipts?limit=1&limit=2")) == "invalid_request"
    assert slug(await api.call("viewer", "GET", "/receipts?limit=0")) == "invalid_request"
    assert slug(await api.call("viewer", "GET", "/whoami?x=1")) == "invalid_request"


@on_the_loop
async def test_other_methods_and_paths_are_problems(api: Api) -> None:
    answer = await api.call("admin", "PUT", "/agents")
    assert (slug(answer), answer.headers["allow"]) == ("method_not_allowed", "GET,POST")
    assert slug(await api.call("admin", "GET", "/nothing")) == "not_found"
    assert slug(await api.call("admin", "GET", "/approvals/../../etc")) == "not_found"


@on_the_loop
async def test_the_socket_knows_its_user_and_is_private(api: Api) -> None:
    assert stat.S_IMODE(api.socket.stat().st_mode) == 0o600
    async with api.local() as client:
        value = (await client.get("/api/v1/whoami")).json()
        assert (value["name"], value["role"]) == ("local", "admin")
        assert value["via"].startswith("uid:")
        headers = {"Authorization": f"Bearer {api.tokens['viewer']}"}  # a token says who, also here
        assert (await client.get("/api/v1/whoami", headers=headers)).json()["name"] == "viewer"
        wrong = {"Authorization": "Bearer bco_wrong"}
        assert slug(await client.get("/api/v1/whoami", headers=wrong)) == "unauthenticated"
        assert slug(await client.get("/api/v1/whoami", headers={"Host": "evil.example"})) == "misdirected"


@on_the_loop
async def test_the_socket_follows_a_reload_and_goes_with_its_sidecar(tmp_path: Path) -> None:
    async with administered(tmp_path) as api:
        sidecar, old = api.rig.sidecar, api.rig.configuration
        local = (LocalOperator(uid=1, name="ann", role=Role.VIEWER),)
        operators = old.settings.operators.model_copy(update={"local": local})
        for configuration, mode in (
            (replace(old, settings=old.settings.model_copy(update={"operators": operators})), 0o666),
            (old, 0o600),
        ):
            await sidecar.reload(configuration)
            assert stat.S_IMODE(api.socket.stat().st_mode) == mode
    assert not api.socket.exists()


def test_the_file_of_another_sidecar_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "admin.sock"
    ours = AdminSocket(f"unix:{place}", mode=0o600)
    place.unlink()
    theirs = AdminSocket(f"unix:{place}", mode=0o600)
    ours.allow(0o666)
    ours.remove()
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    theirs.remove()
    assert not place.exists()
    ours.listening.close()
    theirs.listening.close()


def test_a_user_of_the_machine_is_who_the_configuration_says() -> None:
    known = (
        LocalOperator(uid=1000, name="ann", role=Role.APPROVER),
        LocalOperator(uid=7, name="self", role=Role.VIEWER),
    )
    assert by_uid(1000, known, own_uid=0) == Operator("ann", Role.APPROVER, Role.APPROVER, None, "uid:1000")
    assert by_uid(7, known, own_uid=7) == Operator("self", Role.VIEWER, Role.VIEWER, None, "uid:7")
    assert by_uid(0, known, own_uid=0) == Operator("local", Role.ADMIN, Role.ADMIN, None, "uid:0")
    assert by_uid(1001, known, own_uid=0) is None


@on_the_loop
async def test_a_sidecar_without_the_listeners_has_no_api_and_a_taken_socket_is_not_taken_over(
    api: Api, tmp_path: Path
) -> None:
    from proxy.api.sockets import bound
    from proxy.errors import BriefcaseError

    with pytest.raises(BriefcaseError, match="another sidecar"):
        bound(f"unix:{api.socket}", mode=0o600)
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(BriefcaseError, match="no socket"):
        bound(f"unix:{file}", mode=0o600)
    assert file.read_text() == "kept"
    stale = tmp_path / "stale.sock"
    bound(f"unix:{stale}", mode=0o600).close()
    bound(f"unix:{stale}", mode=0o600).close()


@on_the_loop
async def test_o08_attempts_are_throttled_and_tokens_expire_and_are_narrowed(api: Api) -> None:
    clock = HandClock()
    registry = OperatorRegistry(api.database, api.database, OperatorSettings, clock)
    issued = add_operator(api.database, "late", Role.ADMIN, clock=clock, hours=1)
    header = f"Bearer {issued.token}"
    found = registry.by_token(header, "a")
    assert isinstance(found, Operator)
    narrow = registry.by_token(f"Bearer {add_token(api.database, 'late', clock=clock, role=Role.VIEWER).token}", "a")
    assert isinstance(narrow, Operator)
    assert (narrow.role, narrow.ceiling) == (Role.ADMIN, Role.VIEWER)
    for _ in range(10):
        assert registry.by_token("Bearer " + "z" * 20, "b") == Unknown()
    waits = registry.by_token("Bearer " + "z" * 20, "b")
    assert isinstance(waits, Unknown)
    assert waits.wait_s > 0
    assert isinstance(registry.by_token(header, "b"), Operator)
    changed = issued.token[:-1] + ("a" if issued.token[-1] != "a" else "b")
    assert registry.by_token(f"Bearer {changed}", "a") == Unknown()
    clock.wall += 3_600_000
    assert registry.by_token(header, "a") == Unknown()
    clock.wall -= 3_600_000
    assert isinstance(registry.by_token(header, "a"), Operator)
    revoke_operator(api.database, "late", clock=clock)
    assert registry.by_token(header, "a") == Unknown()
    stored = await asyncio.to_thread(
        lambda: api.database.raw_connection().execute("SELECT * FROM operator_tokens").fetchall()
    )
    assert issued.token not in str(stored)


@on_the_loop
async def test_a_change_whose_receipt_cannot_be_written_is_not_made(api: Api) -> None:
    with writing(api.database) as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER broken BEFORE INSERT ON receipts WHEN NEW.kind = 'change' "
            "BEGIN SELECT RAISE(ROLLBACK, 'full'); END"
        )
    try:
        assert slug(await api.call("operator", "POST", "/agents", {"name": "ghost"})) == "unavailable"
    finally:
        with writing(api.database) as connection:
            connection.exec_driver_sql("DROP TRIGGER broken")
    assert (await api.call("operator", "POST", "/agents", {"name": "real"})).status_code == 201
    names = [row.name for row in list_agents(api.database)]
    assert "real" in names
    assert "ghost" not in names


def test_every_problem_stands_in_the_documentation() -> None:
    rows = {row[0].strip("`"): row[1] for row in pages.table(pages.text("api.md"), "problem")}
    assert rows == {name: str(status) for name, (status, _) in PROBLEMS.items()}


@on_the_loop
async def test_p1_a_request_that_is_none_is_repeated_in_no_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    assert api.rig.sidecar.api is not None
    reader, writer = await asyncio.open_connection(*api.rig.sidecar.api)
    writer.write(b"GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bco_secret\0part\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.0 400"), answer
    assert "secret" not in caplog.text
