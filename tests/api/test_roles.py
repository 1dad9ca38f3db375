"""Who may use which route: the whole matrix, written down, and every cell of it tried (O-09, J-06, J-07, J-10)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from proxy.api.openapi import document
from proxy.api.routes import BASE, ROUTES
from proxy.model import Operator, Role
from tests.api.conftest import slug

if TYPE_CHECKING:
    from tests.api.conftest import Api

on_the_loop = pytest.mark.asyncio(loop_scope="session")
MATRIX = """
GET    /whoami               viewer approver operator admin
GET    /agents               viewer approver operator admin
POST   /agents               -      -        operator admin
DELETE /agents/{name}        -      -        operator admin
GET    /accounts             viewer approver operator admin
GET    /policies             viewer approver operator admin
POST   /policies/explain     viewer approver operator admin
GET    /policies/pending     viewer approver operator admin
POST   /policies/confirmations -    -        operator admin
POST   /policies/simulate    -      -        operator admin
GET    /policies/versions    viewer approver operator admin
GET    /policies/versions/{number}   viewer approver operator admin
GET    /policies/versions/{number}/difference viewer approver operator admin
POST   /policies/rollback    -      -        operator admin
GET    /policies/rollout     viewer approver operator admin
GET    /budgets/usage        viewer approver operator admin
GET    /approvals            viewer approver operator admin
GET    /approvals/{id}       viewer approver operator admin
POST   /approvals/{id}/votes -      approver -        admin
GET    /approval-events      viewer approver operator admin
GET    /approval-grants      viewer approver operator admin
POST   /approval-grants      -      approver -        admin
POST   /approval-grants/{id}/seconds      -      approver -        admin
DELETE /approval-grants/{id} -      approver operator admin
GET    /approver-keys        viewer approver operator admin
POST   /approver-keys        -      approver -        admin
POST   /approver-keys/{id}/confirmations  -      -        -        admin
DELETE /approver-keys/{id}   -      approver -        admin
GET    /receipts             viewer approver operator admin
GET    /receipts/{id}        viewer approver operator admin
GET    /verification         viewer approver operator admin
GET    /changes              viewer approver operator admin
GET    /locks                viewer approver operator admin
POST   /locks                -      -        operator admin
POST   /unlocks              -      -        operator admin
GET    /operators            -      -        -        admin
POST   /operators            -      -        -        admin
DELETE /operators/{name}     -      -        -        admin
GET    /logins               anybody
POST   /sessions             anybody
GET    /sessions             viewer approver operator admin
DELETE /sessions/{id}        viewer approver operator admin
"""
ANYBODY = frozenset({"anybody"})
ROLES = ("viewer", "approver", "operator", "admin")


def rows() -> list[tuple[str, str, frozenset[str]]]:
    lines = [line.split() for line in MATRIX.strip().splitlines()]
    return [(method, path, frozenset(roles) - {"-"}) for method, path, *roles in lines]


def test_the_matrix_is_the_table() -> None:
    assert rows() == [
        (route.method, route.path, frozenset(role.value for role in route.roles) or ANYBODY) for route in ROUTES
    ]


@pytest.mark.parametrize("role", ROLES)
@on_the_loop
async def test_o09_a_role_uses_what_the_matrix_says_and_nothing_else(api: Api, role: str) -> None:
    for method, path, roles in rows():
        if path == "/approval-events":
            continue
        body = {} if method == "POST" else None  # whoever may is told that the form is wrong, and nothing is done
        answer = await api.call(role, method, re.sub(r"{\w+}", "none", path), body)
        forbidden = answer.status_code == 403 and slug(answer) == "forbidden"
        assert forbidden == (role not in roles and roles != ANYBODY), (method, path, answer.text)
        assert answer.status_code < 500 or path.endswith("locks"), (method, path, answer.text)


@on_the_loop
async def test_j10_whoever_may_not_is_on_record(api: Api) -> None:
    id_ = await api.pending("/refused")
    answer = await api.call("operator", "POST", f"/approvals/{id_}/votes", {"approve": True})
    assert slug(answer) == "forbidden"
    change = (await api.changes())[0]
    assert (change["change"], change["by"], change["refused"]) == ("approvals_vote", "operator", "forbidden")
    assert (await api.call("viewer", "GET", f"/approvals/{id_}")).json()["approval"]["state"] == "pending"


@on_the_loop
async def test_j07_nobody_approves_a_call_of_their_own(api: Api) -> None:
    from proxy.clock import SystemClock
    from proxy.identity.operators import add_operator

    api.tokens["tester"] = add_operator(api.database, "tester", Role.ADMIN, clock=SystemClock()).token
    id_ = await api.pending("/own")
    answer = await api.call("tester", "POST", f"/approvals/{id_}/votes", {"approve": True})
    assert slug(answer) == "own_request"
    change = (await api.changes())[0]
    assert (change["change"], change["target"], change["refused"]) == ("approval_refused", id_, "own_request")
    assert (await api.call("viewer", "GET", f"/approvals/{id_}")).json()["approval"]["state"] == "pending"


@on_the_loop
async def test_j06_o09_what_is_another_tenants_is_as_if_it_were_not_there(api: Api) -> None:
    id_ = await api.pending("/foreign")
    receipt = (await api.rig.call("GET", "/foreign")).headers["briefcased-receipt"]
    for method, path, body in (
        ("GET", "/approvals/{}", None),
        ("POST", "/approvals/{}/votes", {"approve": True}),
    ):
        theirs = await api.call("foreign", method, path.format(id_), body)
        guessed = await api.call("foreign", method, path.format("apr_" + "A" * 22), body)
        assert (theirs.status_code, theirs.content) == (guessed.status_code, guessed.content) == (404, guessed.content)
    assert slug(await api.call("foreign", "GET", f"/receipts/{receipt}")) == "not_found"
    assert slug(await api.call("foreign", "DELETE", "/agents/tester")) == "not_found"
    assert slug(await api.call("foreign", "DELETE", "/operators/viewer")) == "not_found"
    assert slug(await api.call("foreign", "POST", "/agents", {"name": "tester"})) == "forbidden"
    assert slug(await api.call("foreign", "POST", "/operators", {"name": "x", "role": "admin"})) == "forbidden"
    assert slug(await api.call("foreign", "GET", "/verification")) == "forbidden"
    for path, key in (
        ("/approvals", "approvals"),
        ("/agents", "agents"),
        ("/accounts", "accounts"),
        ("/receipts", "receipts"),
    ):
        assert (await api.call("foreign", "GET", path)).json() == {key: []}
    asked = {"agent": "tester", "method": "GET", "url": f"{api.rig.base}/open"}
    assert slug(await api.call("foreign", "POST", "/policies/explain", asked)) == "not_found"


def test_a_token_with_a_lesser_role_lowers_what_its_operator_may() -> None:
    vote = next(route for route in ROUTES if route.path.endswith("/votes"))
    add = next(route for route in ROUTES if (route.method, route.path) == ("POST", "/agents"))
    narrow = Operator("ann", Role.ADMIN, Role.APPROVER, None, "token:x")
    assert vote.allows(narrow)
    assert not add.allows(narrow)
    assert not add.allows(Operator("ann", Role.APPROVER, Role.ADMIN, None, "token:x"))


def test_the_openapi_document_has_every_route_and_is_checked_in() -> None:
    value = orjson.loads(document())
    found = {(method.upper(), path) for path, item in value["paths"].items() for method in item}
    assert found == {(route.method, BASE + route.path) for route in ROUTES}
    text = document().decode()
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) <= value["components"]["schemas"].keys()
    assert Path(__file__).parents[2].joinpath("docs/schema/openapi.json").read_bytes() == document()


@on_the_loop
async def test_the_openapi_document_is_served(api: Api) -> None:
    async with api.client("viewer") as client:
        assert (await client.get("/api/openapi.json")).content == document()
