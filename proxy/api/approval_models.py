"""The forms of the control API about deciding: answers, signatures, standing grants, keys of approvers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from proxy.api.models import WHOLE, ApprovalView, Form, Grant, Name, Reason
from proxy.approval.grants import MAX_S, MAX_USES
from proxy.documents import Strict
from proxy.model import OPERATOR

KeyId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$", description="RFC 7638 thumbprint.")]
Whole = Annotated[int, Field(ge=0, le=2**53 - 1), WHOLE]
Path = Annotated[str, Field(pattern=r"^/[^\x00-\x20\x7f]*$", max_length=4096)]


class ProofForm(Strict):
    """A signature; what is signed is in `docs/approvals.md`."""

    key: KeyId
    at_ms: Annotated[Whole, Field(description="When it was signed, Unix time.")]
    nonce: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{22,64}$", description="128 random bits or more, once.")]
    signature: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{86}$", description="64 bytes in base64url.")]


class GrantWish(Strict):
    """The terms of a standing grant; `path` is a template, `*` stands for one segment."""

    for_s: Annotated[int, Field(ge=1, le=MAX_S), WHOLE]
    max_uses: Annotated[int, Field(ge=1, le=MAX_USES), WHOLE]
    max_cost_microusd: Annotated[Whole, Field(description="The most that one call may cost.")]
    path: Path


class VoteRequest(Strict):
    """A decision about an approval."""

    approve: bool
    reason: Reason = ""
    proof: ProofForm | None = None
    grant: GrantWish | None = Field(default=None, description="The standing grant to make along with a yes.")


class VoteView(Form):
    """What an approver said."""

    approver: str
    approve: bool
    reason: str
    key: str | None = Field(description="The key that signed it.")


class ApprovalDetail(Form):
    """An approval with its card: the whole request, every text of it escaped."""

    approval: ApprovalView
    votes: list[VoteView]
    card: dict[str, Any]
    fingerprint: str = Field(description="Of the request; a signed answer names it, and the digest of the card.")
    grant: str | None = Field(default=None, description="The standing grant that this answer has made.")


class GrantView(Form):
    """A standing grant."""

    id: str
    state: Literal["alive", "ended", "revoked"]
    tenant: str
    agent: str
    user: str | None
    account: str
    profile: str
    profile_version: str
    operation: str
    policy_version: str
    method: str
    origin: str
    path: str
    life: int = Field(description="Of the agent: how often one of this name was revoked before.")
    for_s: int
    max_uses: int
    max_cost_microusd: int
    uses: int
    created_at_ms: int
    until_ms: int
    approvers: list[str]
    signed_by: list[str] = Field(description="Those of the approvers who signed.")
    approval: str | None = Field(description="The one that it was made with; null: by itself.")
    reason: str
    revoked_by: str | None


class Grants(Form):
    """Standing grants, the newest first."""

    grants: list[GrantView]


class NewGrant(Strict):
    """A standing grant to make by itself, under the profile and the policies in force."""

    agent: Name
    user: Annotated[str, Field(pattern=r"^[a-zA-Z0-9@][a-zA-Z0-9@_/.-]{0,253}$")] | None = None
    account: Annotated[Grant, Field(pattern=r"^[^*]+$")]
    operation: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*:[A-Za-z0-9_.:-]{1,100}$")]
    method: Annotated[str, Field(pattern=r"^[A-Z]{1,20}$")]
    origin: Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]{1,253}:[0-9]{1,5}$")]
    terms: GrantWish
    reason: Reason = ""


class SecondRequest(Strict):
    """Standing behind a grant that another approver has made."""

    proof: ProofForm | None = None


class KeyView(Form):
    """A key of an approver: its public half."""

    id: str
    approver: str
    tenant: str | None
    label: str
    state: Literal["waiting", "counts", "revoked"]
    jwk: dict[str, str]
    created_at_ms: int
    confirmed_by: str | None


class Keys(Form):
    """Keys of approvers, the oldest first."""

    keys: list[KeyView]


class KeyProof(Strict):
    """A signature by the key itself."""

    at_ms: Whole
    nonce: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{22,64}$")]
    signature: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{86}$")]


class NewKey(Strict):
    """A key of your own to register."""

    jwk: Annotated[
        dict[Annotated[str, Field(max_length=16)], Annotated[str, Field(max_length=256)]],
        Field(max_length=8, description="Public, Ed25519 or P-256 (RFC 7517)."),
    ]
    label: Annotated[str, Field(max_length=64, pattern=r"^[ -~]*$")] = ""
    proof: KeyProof


class KeyConfirmation(Strict):
    """That the key is this approver's; from elsewhere than the machine with a signature."""

    approver: Annotated[str, Field(pattern=rf"^{OPERATOR}$")]
    proof: ProofForm | None = None


class RevokedKey(Form):
    """A key that counts no more."""

    id: str
    grants_ended: int
