"""Strong approvals and standing grants: a policy, the real proxy, the API and the commands of approvers.

J-10 and J-18: whose answer it is must be proven; J-01: what was signed once is worth nothing twice; J-05: a grant covers
what it says and ends when it is revoked.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from proxy.approval.grants import Terms
from proxy.approval.key_statements import registration
from proxy.approval.signing import prove, proven, with_key_file
from proxy.approval.statement import Wish
from proxy.clock import SystemClock
from proxy.identity.operators import add_operator
from proxy.keys.public import base64url
from proxy.keys.software import SoftwareSigner, generate
from proxy.model import Role
from tests.api.conftest import APPROVALS, administered, slug
from tests.api.liar import lying
from tests.api.terminal import on_a_terminal
from tests.api.test_commands import BRIEFCASED, command, environment
from tests.control.conftest import POLICIES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from proxy.approval.statement import Proof
    from tests.api.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
STRONG = POLICIES.replace(
    '"callWithoutStrongApproval", resource);',
    '"callWithoutStrongApproval", resource)\nunless { context.path like "/strong*" };',
)
HARMLESS, HARMFUL = b'{"amount": 1}', b'{"amount": 1000000}'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with administered(tmp_path_factory.mktemp("signed"), text=STRONG) as api:
        yield api


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ann's key, which counts, in a file."""
    file = tmp_path_factory.mktemp("ann") / "ann.pem"
    await keyed(api, "ann", file)
    return file


def token(api: Api, who: str, role: Role = Role.APPROVER) -> dict[str, str]:
    """The environment of an operator elsewhere."""
    if who not in api.tokens:
        api.tokens[who] = add_operator(api.database, who, role, clock=SystemClock()).token
    return {"BRIEFCASED_API_URL": api.base, "BRIEFCASED_OPERATOR_TOKEN": api.tokens[who]}


async def keyed(api: Api, who: str, file: Path, role: Role = Role.APPROVER) -> str:
    """Make a key for `who`, register it with their token, and confirm it at the machine; its id."""
    made = await command(api, "approvals", "keys", "new", str(file))
    assert made.code == 0, made.err
    assert file.stat().st_mode & 0o777 == 0o600
    added = await command(
        api, "approvals", "keys", "add", "--key", str(file), "--label", "laptop", **token(api, who, role)
    )
    assert added.out.split()[:3] == [made.out.strip(), "waiting", who], added.err
    confirmed = await command(api, "approvals", "keys", "confirm", made.out.strip(), who)
    assert "confirmed by local" in confirmed.out, confirmed.err
    return made.out.strip()


def sent(proof: Proof) -> dict[str, Any]:
    return {
        "key": proof.key, "at_ms": proof.at_ms, "nonce": proof.nonce, "signature": base64url(proof.signature),
    }  # fmt: skip


async def signed(api: Api, id_: str, file: Path, **changed: Any) -> dict[str, Any]:
    """Ann's proof of a yes to `id_`, unless `changed` says otherwise."""
    detail = (await api.call("viewer", "GET", f"/approvals/{id_}")).json()
    public, sign = with_key_file(file)
    says = {
        "approval": id_, "fingerprint": detail["fingerprint"], "card": detail["card"], "yes": True, "approver": "ann",
        "now_ms": SystemClock().wall_ms(), **changed,
    }  # fmt: skip
    return sent(prove(sign, public.thumbprint, **says))


async def state(api: Api, id_: str) -> str:
    return str((await api.call("viewer", "GET", f"/approvals/{id_}")).json()["approval"]["state"])


async def vote(api: Api, who: str, id_: str, **more: Any) -> Any:
    return await api.call(who, "POST", f"/approvals/{id_}/votes", {"approve": True, **more})


async def test_a_strong_call_goes_once_an_approver_has_signed_what_they_saw(api: Api, ann: Path) -> None:
    id_ = await api.pending("/strong", HARMLESS)
    as_ann = token(api, "ann")
    unsigned = await command(api, "approvals", "approve", id_, **as_ann)
    assert (unsigned.code, "strong_factor_required" in unsigned.err) == (1, True)
    blind = await command(api, "approvals", "approve", id_, "--key", str(ann), **as_ann)
    assert (blind.code, "what is signed must have been seen" in blind.err) == (1, True)
    assert await state(api, id_) == "pending"
    shown = await command(api, "approvals", "show", id_, **as_ann)
    digest = re.findall(r"^digest +([0-9a-f]{64})$", shown.out, re.MULTILINE)[0]
    assert digest in blind.err
    another = await command(api, "approvals", "approve", id_, "--key", str(ann), "--shown", "0" * 64, **as_ann)
    assert "look at it again" in another.err
    assert (await api.rig.call("POST", "/strong", content=HARMLESS)).problem == "approval_required"
    approved = await command(api, "approvals", "approve", id_, "--key", str(ann), "--shown", digest, **as_ann)
    assert approved.out.endswith(f"{id_} approved (1 of 1 approvers)\n"), approved.err
    assert '"amount": 1}' in approved.out  # it was shown
    change = (await api.changes())[0]
    assert (change["change"], change["by"], change["factor"]) == (
        "approval_vote",
        "ann",
        with_key_file(ann)[0].thumbprint,
    )
    assert (await api.rig.call("POST", "/strong", content=HARMLESS)).status == 200
    assert (await api.rig.call("POST", "/strong", content=HARMLESS)).problem == "approval_required"  # J-01


@pytest.mark.parametrize("said", ["yes", pytest.param("approve", marks=pytest.mark.slow)])
async def test_on_a_terminal_the_request_is_shown_and_only_the_whole_word_signs(api: Api, ann: Path, said: str) -> None:
    id_ = await api.pending(f"/strong/{said}", HARMFUL)
    approving = (*BRIEFCASED, "approvals", "approve", id_, "--key", str(ann), "--for", "1m")
    env = environment(api, **token(api, "ann"))
    async with on_a_terminal(*approving, env=env, cwd=api.rig.home) as terminal:
        shown = await terminal.until(b"[no]: ")
        assert HARMFUL in shown
        assert b"and grants 1 in 60 s" in shown
        terminal.type(said)
        await terminal.until(b"approved (1 of 1 approvers)" if said == "approve" else b"nothing was signed")
    assert await state(api, id_) == ("approved" if said == "approve" else "pending")


async def test_j18_forged_replayed_and_moved_signatures_count_for_nothing(api: Api, ann: Path) -> None:
    """J-18, J-01."""
    one, other = await api.pending("/strong/1", HARMLESS), await api.pending("/strong/1", HARMFUL)
    card = (await api.call("viewer", "GET", f"/approvals/{one}")).json()["card"]
    good = await signed(api, one, ann)
    flipped = "A" if good["signature"][0] != "A" else "B"
    stranger = generate("Ed25519")
    now_ms = SystemClock().wall_ms()
    forged = {
        "another approval's": await signed(api, other, ann, approval=one),
        "another request's": await signed(api, other, ann, fingerprint="0" * 64),
        "another card's": await signed(api, other, ann, card=card),
        "a no": await signed(api, other, ann, yes=False),
        "another approver's": await signed(api, other, ann, approver="ben"),
        "a grant's": await signed(api, other, ann, grant=Wish(Terms(60, 1, 0), "/strong/1")),
        "of six minutes ago": await signed(api, other, ann, now_ms=now_ms - 360_000),
        "of tomorrow": await signed(api, other, ann, now_ms=now_ms + 86_400_000),
        "a forged": {**good, "signature": flipped + good["signature"][1:]},
        "with another nonce": {**good, "nonce": "A" * 22},
        "with another time": {**good, "at_ms": good["at_ms"] + 1},
        "of an unknown key": {**good, "key": stranger.public.thumbprint},
        "moved": good,
    }  # fmt: skip
    for what, proof in forged.items():
        assert slug(await vote(api, "ann", other, proof=proof)) == "not_proven", what
    assert slug(await vote(api, "approver", one, proof=good)) == "not_proven"  # another's token
    refused = (await api.changes())[0]
    assert (refused["change"], refused["by"], refused["refused"]) == ("approval_refused", "approver", "not_proven")
    assert (await state(api, one), await state(api, other)) == ("pending", "pending")
    assert (await api.rig.call("POST", "/strong/1", content=HARMFUL)).problem == "approval_required"
    assert (await vote(api, "ann", one, proof=good)).json()["approval"]["state"] == "approved"
    assert slug(await vote(api, "ann", one, proof=good)) == "conflict"


async def test_j18_whoever_lies_on_the_way_gets_no_signature_for_something_else(api: Api, ann: Path) -> None:
    """J-18, J-03: what is signed is the card that stood on the screen."""
    harmless, harmful = await api.pending("/strong/2", HARMLESS), await api.pending("/strong/2", HARMFUL)
    details = {id_: (await api.call("viewer", "GET", f"/approvals/{id_}")).json() for id_ in (harmless, harmful)}

    async def approve(id_: str, *more: str) -> Any:
        as_ann = {**token(api, "ann"), "BRIEFCASED_API_URL": liar.url}
        asked = ("approvals", "approve", id_, "--key", str(ann), *more)
        blind = await command(api, *asked, **as_ann)
        digest = re.findall(r"--shown ([0-9a-f]{64})", blind.err)
        return await command(api, *asked, "--shown", digest[0], **as_ann) if digest else blind

    async with lying(api.base) as liar:
        path = f"/api/v1/approvals/{harmful}"
        liar.lies = {path: {**details[harmful], "card": details[harmless]["card"]}}
        assert "not_proven" in (await approve(harmful)).err  # a harmless card for a harmful call
        liar.lies = {
            path: {
                **details[harmful],
                "card": details[harmless]["card"],
                "fingerprint": details[harmless]["fingerprint"],
            }
        }
        assert "not_proven" in (await approve(harmful)).err
        liar.lies = {f"/api/v1/approvals/{harmless}": details[harmful]}
        assert "another approval" in (await approve(harmless)).err
        liar.lies, liar.vote_at = {}, f"{path}/votes"
        assert "not_proven" in (await approve(harmless)).err  # a yes that was carried elsewhere
        liar.vote_at = None
        liar.vote_more = {"grant": {"for_s": 86_400, "max_uses": 1000, "max_cost_microusd": 10**9, "path": "/strong/*"}}
        assert "not_proven" in (await approve(harmless)).err  # a yes that was widened
        assert "not_proven" in (await approve(harmless, "--for", "1m")).err
        liar.vote_more, liar.lies = {}, {"/api/v1/whoami": {"name": "approver"}}
        assert "not_proven" in (await approve(harmless)).err
        assert (await state(api, harmless), await state(api, harmful)) == ("pending", "pending")
        liar.lies = {}
        assert "approved" in (await approve(harmless)).out


async def test_o15_whoever_lies_on_the_way_moves_no_cursor(api: Api) -> None:
    """What the API says of who one is, of what waits and why it refuses is text, whatever it holds."""
    nasty = "\x1b[2J\x1b[1;1Happroved\u202e"
    who = {"name": nasty, "role": "admin", "token_role": "admin", "tenant": nasty, "via": nasty}
    waits = {"version": 2, "digest": "0" * 64, "author": nasty, "reason": nasty, "restores": None, "wider": [nasty]}
    async with lying(api.base) as liar:
        way = {**token(api, "ann"), "BRIEFCASED_API_URL": liar.url}
        liar.lies = {"/api/v1/whoami": who, "/api/v1/policies/pending": {"pending": [waits]}}
        liar.refusals = {
            "/api/v1/approvals": {"type": f"urn:{nasty}", "title": nasty, "detail": nasty},
            "/api/v1/approval-grants": {"type": "x", "title": nasty, "errors": [{"path": nasty, "message": nasty}]},
            "/api/v1/approver-keys": {"type": "x", "title": "y", "errors": [nasty]},
        }
        for words in (
            ("operators", "whoami"),
            ("policy", "pending"),
            ("approvals", "list"),
            ("approvals", "grants", "list"),
            ("approvals", "keys", "list"),
        ):
            done = await command(api, *words, **way)
            assert "\x1b" not in done.out + done.err, words
            assert "Traceback" not in done.err, words
            assert "\\u{1b}" in done.out + done.err or "answered 403" in done.err, words


async def test_a_key_counts_once_somebody_else_has_confirmed_it(api: Api, ann: Path, tmp_path: Path) -> None:
    """J-10: a key that a token could register alone would be no second factor."""
    file, as_eve = tmp_path / "eve.pem", token(api, "eve", Role.ADMIN)
    id_ = (await command(api, "approvals", "keys", "new", str(file))).out.strip()
    again = await command(api, "approvals", "keys", "new", str(file))
    assert (again.code, "File exists" in again.err) == (1, True)
    await command(api, "approvals", "keys", "add", "--key", str(file), **as_eve)
    approval = await api.pending("/strong/3", HARMLESS)
    proof = await signed(api, approval, file, approver="eve")
    assert slug(await vote(api, "eve", approval, proof=proof)) == "not_proven"
    confirm = ("approvals", "keys", "confirm", id_)
    assert "own_request" in (await command(api, *confirm, "eve", **as_eve)).err
    assert "own_request" in (await command(api, *confirm, "eve", "--key", str(file), **as_eve)).err
    assert "forbidden" in (await command(api, *confirm, "eve", "--key", str(ann), **token(api, "ann"))).err
    other = token(api, "root", Role.ADMIN)
    assert "strong_factor_required" in (await command(api, *confirm, "eve", **other)).err
    assert "not_proven" in (await command(api, *confirm, "eve", "--key", str(file), **other)).err
    assert "not_found" in (await command(api, *confirm, "ann")).err  # of another approver
    root = tmp_path / "root.pem"
    await keyed(api, "root", root, Role.ADMIN)
    confirmed = await command(api, *confirm, "eve", "--key", str(root), **other)
    assert confirmed.out.split()[1] == "counts", confirmed.err
    proof = await signed(api, approval, file, approver="eve")
    assert (await vote(api, "eve", approval, proof=proof)).json()["approval"]["state"] == "approved"
    done = [(one["change"], one.get("refused")) for one in await api.changes() if one["target"] == id_]
    assert done == [
        ("approver_key_confirm", None), ("approver_key_refused", "not_proven"),
        ("approver_key_refused", "strong_factor_required"), ("approver_key_refused", "own_request"),
        ("approver_key_refused", "own_request"), ("approver_key_add", None),
    ]  # fmt: skip


async def test_an_admin_at_the_machine_has_a_key_that_counts_at_once(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "local.pem"
    await command(api, "approvals", "keys", "new", str(file))
    added = await command(api, "approvals", "keys", "add", "--key", str(file))
    assert added.out.split()[1:3] == ["counts", "local"], added.err
    approval = await api.pending("/strong/6", HARMLESS)
    approve = ("approvals", "approve", approval, "--key", str(file))
    digest = re.findall(r"--shown ([0-9a-f]{64})", (await command(api, *approve)).err)[0]
    assert "approved" in (await command(api, *approve, "--shown", digest)).out
    elsewhere = {"BRIEFCASED_OPERATOR_TOKEN": api.tokens["admin"]}  # by the socket too, but known by a token
    await command(api, "approvals", "keys", "new", str(tmp_path / "admin.pem"))
    waits = await command(api, "approvals", "keys", "add", "--key", str(tmp_path / "admin.pem"), **elsewhere)
    assert waits.out.split()[1:3] == ["waiting", "admin"], waits.err


async def test_whoever_registers_a_key_holds_it(api: Api) -> None:
    """J-18: possession is proven, freshly, for this approver."""
    signer, token_of = generate("ES256"), token(api, "holder")
    assert token_of

    def proof(of: SoftwareSigner = signer, **changed: Any) -> dict[str, Any]:
        text = partial(registration, **{"key": signer.public.thumbprint, "approver": "holder", **changed})
        made = sent(proven(of.signature, signer.public.thumbprint, text, now_ms=SystemClock().wall_ms()))
        del made["key"]
        return made

    async def add(jwk: Any, proof: Any) -> Any:
        return await api.call("holder", "POST", "/approver-keys", {"jwk": jwk, "proof": proof})

    good, jwk = proof(), dict(signer.public.jwk)
    for bad in (proof(approver="ann"), proof(generate("ES256")), proof(key="other"), {**good, "at_ms": 1}):
        assert slug(await add(jwk, bad)) == "not_proven"
    for weak in (generate("RS256"), generate("ES384")):
        assert slug(await add(dict(weak.public.jwk), good)) in ("conflict", "invalid_request")
    assert slug(await add({**jwk, "d": "AAAA"}, good)) == "conflict"  # a private half is not taken
    assert (await add(jwk, good)).json()["state"] == "waiting"
    assert slug(await add(jwk, good)) == "not_proven"  # replayed
    assert slug(await add(jwk, proof())) == "conflict"  # registered before
    listed = (await api.call("viewer", "GET", "/approver-keys")).json()["keys"]
    assert [one["approver"] for one in listed if one["id"] == signer.public.thumbprint] == ["holder"]
    assert (await api.call("foreign", "GET", "/approver-keys")).json() == {"keys": []}
    gone = f"/approver-keys/{signer.public.thumbprint}"
    assert slug(await api.call("foreign", "DELETE", gone)) == "not_found"
    assert slug(await api.call("approver", "DELETE", gone)) == "forbidden"
    assert (await api.call("holder", "DELETE", gone)).json() == {"id": signer.public.thumbprint, "grants_ended": 0}
    assert slug(await api.call("holder", "DELETE", gone)) == "conflict"


@pytest.mark.parametrize("begins", ["-_", "-h", "-V", "--"])
async def test_a_key_whose_id_begins_with_a_hyphen_is_named_like_any(api: Api, begins: str) -> None:
    id_ = begins + generate("Ed25519").public.thumbprint[2:]
    for words in (("revoke", id_), ("confirm", id_, "ann")):
        ran = await command(api, "approvals", "keys", *words)
        assert (ran.code, "not_found" in ran.err) == (1, True), ran.err
    misspelt = await command(api, "approvals", "keys", "revoke", "--josn", id_)
    assert (misspelt.code, "unexpected extra argument" in misspelt.err) == (2, True), misspelt.err


async def test_with_a_revoked_key_goes_what_it_has_said(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "lost.pem"
    id_ = await keyed(api, "lost", file)
    approval = await api.pending("/strong/4", HARMLESS)
    wish = Wish(Terms(600, 5, 0), "/strong/4")
    form = {"for_s": 600, "max_uses": 5, "max_cost_microusd": 0, "path": "/strong/4"}
    proof = await signed(api, approval, file, approver="lost", grant=wish)
    voted = await vote(api, "lost", approval, proof=proof, grant=form)
    assert voted.json()["grant"].startswith("agr_")
    assert (await api.rig.call("POST", "/strong/4", content=HARMFUL)).status == 200  # by the grant
    revoked = await command(api, "approvals", "keys", "revoke", id_)
    assert revoked.out == f"revoked {id_}, and 1 grants made with it\n"
    assert await state(api, approval) == "expired"
    for body in (HARMLESS, HARMFUL):
        assert (await api.rig.call("POST", "/strong/4", content=body)).problem == "approval_required"
    again = await command(api, "approvals", "keys", "add", "--key", str(file), **token(api, "lost"))
    assert "registered before" in again.err


async def test_with_an_operator_go_their_keys(api: Api, tmp_path: Path) -> None:
    for way in ("api", "command"):
        who, file = f"leaver-{way}", tmp_path / f"{way}.pem"
        id_ = await keyed(api, who, file)
        if way == "api":
            assert (await api.call("admin", "DELETE", f"/operators/{who}")).status_code == 200
        else:
            assert (await command(api, "operators", "revoke", who)).code == 0
        listed = (await api.call("viewer", "GET", "/approver-keys")).json()["keys"]
        assert {one["id"]: one["state"] for one in listed}[id_] == "revoked"


async def test_j05_a_grant_made_with_a_yes_covers_what_it_says_until_it_is_revoked(api: Api) -> None:
    """J-05: of the neighbours none goes."""
    id_ = await api.pending("/granted/1/items", HARMLESS)
    wide = await command(api, "approvals", "approve", id_, "--for", "1h", "--path", "/*/*/*")
    assert "names at least one segment" in wide.err
    late = await command(api, "approvals", "approve", id_, "--for", "25h")
    assert "a grant lasts from 1 to 86400 seconds" in late.err
    made = await command(api, "approvals", "approve", id_, "--for", "1h", "--uses", "3", "--path", "/granted/*/items")
    grant = made.out.split()[-1]
    assert grant.startswith("agr_"), made.err
    assert (await api.rig.call("POST", "/granted/1/items", content=HARMLESS)).status == 200  # its own approval
    assert (await api.rig.call("POST", "/granted/2/items", content=HARMFUL)).status == 200
    neighbours = ("/granted/2/items/3", "/granted/2", "/granted/2/other", "/granted/2/itemsx")
    for path in neighbours:
        assert (await api.rig.call("POST", path, content=HARMLESS)).problem == "approval_required", path
    assert (await api.rig.call("PUT", "/granted/2/items", content=HARMLESS)).problem == "approval_required"
    listed = await command(api, "approvals", "grants", "list")
    assert "alive    tester  POST https://api.example.test" in listed.out
    assert "1 used of 3 in 3600 s" in listed.out
    before = len(api.rig.provider.requests)
    assert (await command(api, "approvals", "grants", "revoke", grant)).out == f"revoked {grant}\n"
    assert (await api.rig.call("POST", "/granted/2/items", content=HARMFUL)).problem == "approval_required"
    assert len(api.rig.provider.requests) == before
    assert "conflict" in (await command(api, "approvals", "grants", "revoke", grant)).err
    changes = [(one["change"], one["by"]) for one in await api.changes() if grant in (one["target"], one.get("grant"))]
    assert changes == [("grant_revoke", "local"), ("grant_revoke", "local"), ("approval_vote", "local")]


async def test_j05_a_grant_by_itself_is_seconded_and_never_strong(api: Api, ann: Path) -> None:
    """J-05."""
    options = (
        "--agent", "tester", "--account", "example/main", "--operation", "example:write", "--method", "POST",
        "--origin", api.rig.base, "--for", "10m", "--uses", "9",
    )  # fmt: skip
    made = await command(api, "approvals", "grants", "make", *options, "--path", "/release/*", **token(api, "ann"))
    grant = made.out.split()[0]
    assert grant.startswith("agr_"), made.err
    assert (await api.rig.call("POST", "/release/1", content=HARMLESS)).status == 200
    await command(api, "approvals", "grants", "make", *options, "--path", "/strong/*")
    assert (await api.rig.call("POST", "/strong/5", content=HARMLESS)).problem == "approval_required"
    seconded = await command(api, "approvals", "grants", "second", grant, **token(api, "ben"))
    assert "by ann, ben" in seconded.out, seconded.err
    blind = await command(api, "approvals", "grants", "second", grant, "--key", str(ann), **token(api, "ann"))
    digest = re.findall(r"--shown ([0-9a-f]{64})", blind.err)[0]
    assert "/release/*" in blind.out
    strong = ("approvals", "grants", "second", grant, "--key", str(ann), "--shown", digest)
    assert "ann (signed)" in (await command(api, *strong, **token(api, "ann"))).out
    token(api, "tester")
    assert slug(await api.call("tester", "POST", f"/approval-grants/{grant}/seconds", {})) == "own_request"
    assert slug(await api.call("foreign", "DELETE", f"/approval-grants/{grant}")) == "not_found"
    assert (await api.call("foreign", "GET", "/approval-grants")).json() == {"grants": []}
    added = await api.call("admin", "POST", "/agents", {"name": "narrow", "accounts": ["other/*"]})
    assert added.status_code == 201
    for changed in ({"agent": "nobody"}, {"agent": "narrow"}, {"account": "other/main"}, {"operation": "none:write"}):
        body = {
            "agent": "tester", "account": "example/main", "operation": "example:write", "method": "POST",
            "origin": api.rig.base, "terms": {"for_s": 60, "max_uses": 1, "max_cost_microusd": 0, "path": "/a"}, **changed,
        }  # fmt: skip
        assert slug(await api.call("approver", "POST", "/approval-grants", body)) == "not_found"


@pytest.mark.parametrize("way", ["api", "command"])
async def test_with_an_operator_goes_what_they_have_said_without_a_key(api: Api, way: str) -> None:
    """J-10: whose token was stolen is revoked; the yeses that it gave, and its grants, must not outlive it."""
    who, path = f"stolen-{way}", f"/stolen/{way}"
    token(api, who)
    form = {"for_s": 600, "max_uses": 5, "max_cost_microusd": 0, "path": path}
    approval = await api.pending(path)
    voted = (await vote(api, who, approval, grant=form)).json()
    assert voted["approval"]["state"] == "approved"
    if way == "api":
        assert (await api.call("admin", "DELETE", f"/operators/{who}")).status_code == 200
    else:
        assert (await command(api, "operators", "revoke", who)).code == 0
    assert await state(api, approval) == "expired"
    grants = (await api.call("viewer", "GET", "/approval-grants")).json()["grants"]
    assert {one["id"]: one["state"] for one in grants}[voted["grant"]] == "revoked"
    for body in (b'{"title":"one"}', b'{"title":"two"}'):
        assert (await api.rig.call("POST", path, content=body)).problem == "approval_required"


async def test_two_must_say_yes_and_one_no_ends_it_with_its_grants(tmp_path: Path) -> None:
    """J-10: a quorum of two, through the API; nobody counts twice, and a signature neither."""
    async with administered(tmp_path, text=STRONG, approvals={**APPROVALS, "approvers": 2}) as api:
        token(api, "gone")
        id_ = await api.pending("/quorum")
        assert (await vote(api, "gone", id_)).json()["approval"]["approvers"] == ["gone"]
        assert (await api.call("admin", "DELETE", "/operators/gone")).status_code == 200
        voted = (await vote(api, "approver", id_)).json()["approval"]
        assert (voted["state"], voted["approvers"]) == ("pending", ["approver"])
        files = {who: tmp_path / f"{who}.pem" for who in ("ann", "ben")}
        for who, file in files.items():
            await keyed(api, who, file)
        id_ = await api.pending("/strong", HARMLESS)
        for who in ("ann", "ann"):
            voted = await vote(api, who, id_, proof=await signed(api, id_, files["ann"]))
            assert (voted.json()["approval"]["state"], voted.json()["approval"]["approvers"]) == ("pending", ["ann"])
        theirs = await signed(api, id_, files["ann"], approver="ben")
        assert slug(await vote(api, "ben", id_, proof=theirs)) == "not_proven"
        assert slug(await vote(api, "ben", id_)) == "strong_factor_required"
        assert (await api.rig.call("POST", "/strong", content=HARMLESS)).problem == "approval_required"
        wish = Wish(Terms(600, 5, 0), "/strong")
        form = {"for_s": 600, "max_uses": 5, "max_cost_microusd": 0, "path": "/strong"}
        proof = await signed(api, id_, files["ben"], approver="ben", grant=wish)
        voted = (await vote(api, "ben", id_, proof=proof, grant=form)).json()
        assert voted["approval"]["state"] == "approved"
        assert (await api.rig.call("POST", "/strong", content=HARMLESS)).status == 200

        second = ("approvals", "grants", "second", voted["grant"])  # of a strong grant, with a signature too
        assert (await api.rig.call("POST", "/strong", content=HARMFUL)).problem == "approval_required"
        await command(api, *second, **token(api, "ann"))
        assert (await api.rig.call("POST", "/strong", content=HARMFUL)).problem == "approval_required"
        blind = await command(api, *second, "--key", str(files["ann"]), **token(api, "ann"))
        digest = re.findall(r"--shown ([0-9a-f]{64})", blind.err)[0]
        await command(api, *second, "--key", str(files["ann"]), "--shown", digest, **token(api, "ann"))
        assert (await api.rig.call("POST", "/strong", content=HARMFUL)).status == 200

        id_, form = (
            await api.pending("/plain", HARMLESS),
            {"for_s": 60, "max_uses": 9, "max_cost_microusd": 0, "path": "/plain"},
        )
        grant = (await vote(api, "ann", id_, grant=form)).json()["grant"]
        no = await api.call("ben", "POST", f"/approvals/{id_}/votes", {"approve": False})
        assert no.json()["approval"]["state"] == "rejected"
        [one] = [
            one for one in (await api.call("viewer", "GET", "/approval-grants")).json()["grants"] if one["id"] == grant
        ]
        assert (one["state"], one["revoked_by"]) == ("revoked", "ben")
