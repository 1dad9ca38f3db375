"""Answers that approvers sign, and who may answer at all (J-10, J-18)."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from proxy.approval.approvers import NotEntitledError, NotOpenError, NotThereError, UnsignedError
from proxy.approval.entitled import Unfit, unfit
from proxy.approval.grants import Grant, Terms
from proxy.approval.key_statements import registration
from proxy.approval.key_store import BadKeyError
from proxy.approval.proofs import NotProvenError
from proxy.approval.signing import prove, proven, with_command, with_key_file
from proxy.approval.statement import Wish, card_digest
from proxy.approval.states import State, Vote
from proxy.errors import BriefcaseError
from proxy.keys.software import SoftwareSigner, generate
from proxy.model import Role, Strength
from tests.approval.requests import HEAD, asked
from tests.approval.voting import Desk, approver, ballot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from proxy.approval.statement import Proof
    from tests.approval.hands import Hands

STRONG = asked(strength=Strength.STRONG)


@pytest.fixture
def desk(database: Engine, hands: Hands) -> Desk:
    return Desk(database, hands)


def registered(desk: Desk, approver: str = "ann", algorithm: str = "Ed25519") -> SoftwareSigner:
    signer = generate(algorithm)
    desk.keys.register(approver, signer.public, tenant=None, label="")
    assert desk.keys.confirm(signer.public.thumbprint, by="local")
    return signer


def proof(desk: Desk, id_: str, signer: SoftwareSigner, **changed: object) -> Proof:
    """Ann's signed yes, unless `changed` says otherwise."""
    approval, card = desk.store.get(id_), desk.store.card(id_)
    assert approval is not None
    says = {
        "approval": id_, "fingerprint": approval.fingerprint, "card": card, "yes": True, "approver": "ann",
        "now_ms": desk.hands.wall, **changed,
    }  # fmt: skip
    return prove(signer.signature, signer.public.thumbprint, **says)  # type: ignore[arg-type]


def possession(desk: Desk, signer: SoftwareSigner, approver: str = "ann") -> Proof:
    """That the key is one's own."""
    return proven(
        signer.signature, signer.public.thumbprint,
        partial(registration, key=signer.public.thumbprint, approver=approver), now_ms=desk.hands.wall,
    )  # fmt: skip


@pytest.mark.parametrize("algorithm", ["Ed25519", "ES256"])
async def test_a_signed_yes_is_strong(desk: Desk, algorithm: str) -> None:
    signer, id_ = registered(desk, algorithm=algorithm), await desk.required(STRONG)
    with pytest.raises(UnsignedError):
        await desk.approvers.decide(id_, ballot())
    assert await desk.says(STRONG) == "approval_required"
    changed, _ = await desk.approvers.decide(id_, ballot(proof=proof(desk, id_, signer)))
    assert changed.approval.votes == (Vote("ann", yes=True, factor=signer.public.thumbprint),)
    assert await desk.says(STRONG) == "apr"


FORGED: dict[str, dict[str, object]] = {
    "another approval": {"approval": "apr_other"},
    "another request": {"fingerprint": "0" * 64},
    "another card": {"card": {"title": "Something harmless"}},
    "a no": {"yes": False},
    "another approver": {"approver": "cat"},
    "a grant": {"grant": Wish(Terms(60, 1, 0), HEAD.path)},
    "six minutes ago": {"now_ms": 1_764_115_200_000 - 301_000},
    "tomorrow": {"now_ms": 1_764_115_200_000 + 31_000},
}


async def test_j_18_a_signature_over_something_else_counts_for_nothing(desk: Desk) -> None:
    signer, id_ = registered(desk), await desk.required(STRONG)
    for what, changed in FORGED.items():
        forged = proof(desk, id_, signer, **changed)
        with pytest.raises(NotProvenError):
            await desk.approvers.decide(id_, ballot(proof=forged, reason=what))
    pending = desk.store.get(id_)
    assert pending is not None
    assert (pending.state, pending.votes) == (State.PENDING, ())


async def test_j_18_a_signature_counts_once(desk: Desk) -> None:
    signer, both = registered(desk), asked(strength=Strength.STRONG, needs=2)
    id_ = await desk.required(both)
    signed = proof(desk, id_, signer)
    await desk.approvers.decide(id_, ballot(proof=signed))
    with pytest.raises(NotProvenError, match="used before"):
        await desk.approvers.decide(id_, ballot(proof=signed))


@pytest.mark.parametrize("which", ["unknown", "another's", "revoked", "waiting", "of another tenant"])
async def test_j_18_only_keys_of_the_approver_count(desk: Desk, which: str) -> None:
    id_ = await desk.required(STRONG)
    signer = generate("Ed25519")
    if which != "unknown":
        who, tenant = "cat" if which == "another's" else "ann", "acme" if which == "of another tenant" else None
        desk.keys.register(who, signer.public, tenant=tenant, label="")
    if which not in ("unknown", "waiting"):
        assert desk.keys.confirm(signer.public.thumbprint, by="local")
    if which == "revoked":
        assert desk.keys.revoke(signer.public.thumbprint, by="cat") == 0
    with pytest.raises(NotProvenError):
        await desk.approvers.decide(id_, ballot(proof=proof(desk, id_, signer)))


async def test_a_grant_made_with_a_key_is_strong_and_its_terms_are_signed(desk: Desk) -> None:
    signer, id_, wish = registered(desk), await desk.required(STRONG), Wish(Terms(60, 2, 1000), HEAD.path)
    wider = ballot(proof=proof(desk, id_, signer, grant=wish), grant=Wish(Terms(60, 1000, 1000), HEAD.path))
    with pytest.raises(NotProvenError):
        await desk.approvers.decide(id_, wider)
    await desk.approvers.decide(id_, ballot(proof=proof(desk, id_, signer, grant=wish), grant=wish))
    assert await desk.says(STRONG) == "apr"
    used = await desk.admit(asked(strength=Strength.STRONG, body=b"other"))
    assert isinstance(used, Grant)


async def test_with_a_key_go_the_grants_that_were_made_with_it(desk: Desk) -> None:
    signer, id_, wish = registered(desk), await desk.required(STRONG), Wish(Terms(60, 2, 1000), HEAD.path)
    await desk.approvers.decide(id_, ballot(proof=proof(desk, id_, signer, grant=wish), grant=wish))
    other = asked(strength=Strength.STRONG, body=b"other")
    assert await desk.says(other) == "agr"
    assert await desk.registrar.revoke(approver("cat", role=Role.ADMIN), signer.public.thumbprint) == 1
    assert await desk.says(other) == "approval_required"
    with pytest.raises(NotOpenError):
        await desk.registrar.revoke(approver("ann"), signer.public.thumbprint)


async def test_j_10_nobody_decides_what_is_theirs_or_anothers(desk: Desk) -> None:
    id_, both = await desk.required(), await desk.required(asked(needs=2))
    for who, which in (("coder", id_), ("alice", id_), ("coder", both), ("alice", both)):
        with pytest.raises(NotEntitledError):
            await desk.approvers.decide(which, ballot(by=approver(who)))
        said = desk.recorded[-1]
        assert (said["change"], said["target"], said["by"]) == ("approval_refused", which, who)
    with pytest.raises(NotThereError, match="no such approval"):  # as if it were not there: J-06
        await desk.approvers.decide(id_, ballot(by=approver(tenant="other")))
    pending = desk.store.get(id_)
    assert pending is not None
    assert (pending.state, pending.votes) == (State.PENDING, ())
    assert await desk.says() == "approval_required"
    await desk.approvers.decide(id_, ballot(by=approver("dan", tenant="acme")))
    assert await desk.says() == "apr"


@pytest.mark.parametrize(
    ("who", "tenant", "unfit_as"),
    [("ann", None, None), ("ann", "acme", None), ("ann", "other", Unfit.TENANT), ("coder", None, Unfit.AGENT),
     ("alice", None, Unfit.USER)],
)  # fmt: skip
def test_j_10_who_may_decide(who: str, tenant: str | None, unfit_as: Unfit | None) -> None:
    assert unfit(approver(who, tenant), tenant="acme", agent="coder", user="alice") is unfit_as


def _rsa(_: Desk) -> SoftwareSigner:
    return generate("RS256")


def _twice(desk: Desk) -> SoftwareSigner:
    return registered(desk, "cat")


@pytest.mark.parametrize("made", [_rsa, _twice, lambda _: generate("ES384")])
async def test_a_key_that_cannot_be_registered(desk: Desk, made: Callable[[Desk], SoftwareSigner]) -> None:
    signer = made(desk)
    with pytest.raises(BadKeyError):
        await desk.registrar.register(approver(), signer.public.jwk, possession(desk, signer), label="")
    assert desk.keys.listed(approver="ann") == ()


async def test_signing_with_a_key_file_and_with_a_command(desk: Desk, tmp_path: Path) -> None:
    signer, file = generate("ES256"), tmp_path / "key.pem"
    file.write_bytes(signer.pem())
    file.chmod(0o644)
    with pytest.raises(BriefcaseError, match="others may read"):
        with_key_file(file)
    file.chmod(0o600)
    public, sign = with_key_file(file)
    desk.keys.register("ann", public, tenant=None, label="")
    desk.keys.confirm(public.thumbprint, by="local")
    program = tmp_path / "sign.py"
    program.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from proxy.approval.signing import with_key_file\nfrom proxy.keys.public import base64url\n"
        f"print(base64url(with_key_file(Path({str(file)!r}))[1](sys.stdin.buffer.read())))\n"
    )
    for way in (sign, with_command([sys.executable, str(program)])):
        one = asked(strength=Strength.STRONG, body=repr(way).encode())
        id_ = await desk.required(one)
        approval, card = desk.store.get(id_), desk.store.card(id_)
        assert approval is not None
        assert card is not None
        signed = prove(
            way, public.thumbprint, approval=id_, fingerprint=approval.fingerprint, card=card, yes=True,
            approver="ann", now_ms=desk.hands.wall,
        )  # fmt: skip
        await desk.approvers.decide(id_, ballot(proof=signed))
        assert await desk.says(one) == "apr"


@pytest.mark.parametrize(
    ("code", "says"), [("print('!')", "not base64url"), ("print('AAAA')", "64 bytes"), ("exit(3)", "ended with 3")]
)
def test_a_command_that_does_not_sign(code: str, says: str) -> None:
    with pytest.raises(BriefcaseError, match=says):
        with_command([sys.executable, "-c", code])(b"text")
    with pytest.raises(BriefcaseError):
        with_command(["/nonexistent/program"])(b"text")


def test_the_digest_of_a_card_tells_cards_apart() -> None:
    assert card_digest({"a": 1, "b": ("x",)}) == card_digest({"b": ["x"], "a": 1})
    assert card_digest({"a": 1}) != card_digest({"a": 2})
