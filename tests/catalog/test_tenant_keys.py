"""H-12: whatever is remembered of credentials and decisions has a key that belongs to one tenant.

Names of agents, accounts and users are unique in a sidecar, and each of them is one tenant's (`proxy.catalog.tenants`
refuses others, and refs that two tenants share). So a key that holds one of them holds its tenant. What has none is in
the table with its reason; something new that remembers fails here until somebody has thought about it.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from pathlib import Path

import pytest

import proxy
from proxy.credentials.grants import GrantKey
from proxy.exchange import Dial
from proxy.model import AccountId, Agent

ROOT = Path(proxy.__file__).parent
WATCHED = (
    "credentials", "keys", "secretstore", "policy", "risk", "approval", "budget", "manifest", "identity", "engine",
    "egress", "front", "budgeting.py", "capturing.py", "pipeline.py", "lent.py", "weighing.py",
)  # fmt: skip
REMEMBERING = ("dict", "OrderedDict", "defaultdict", "Counter", "UnderWay", "WeakValueDictionary", "WeakKeyDictionary")
DECLARED = re.compile(rf"self\.\w+: [^\n]*\b(?:{'|'.join(REMEMBERING)})\[")

ACCOUNT, AGENT, REF = "an account's", "an agent's", "a secret ref, which no two tenants share"
ONE = "one call's or one connection's: its id, or the thing itself"
ALL = "the same for everybody: nothing of a tenant is in it"
KEYS = {
    "approval/service.py:Approvals._waiting": ONE,
    "budget/meters/tap.py:Tap._found": ONE,
    "budgeting.py:Holds._plans": ONE,
    "capturing.py:Keeper._seen": ACCOUNT,
    "credentials/bindings.py:Bindings._admitted": ACCOUNT,
    "credentials/broker.py:Broker._entries": ACCOUNT,
    "credentials/broker.py:Broker._failures": ACCOUNT,
    "credentials/broker.py:Broker._forced_at_s": ACCOUNT,
    "credentials/broker.py:Broker._minting": ACCOUNT,
    "credentials/broker.py:Broker._rejected": ACCOUNT,
    "credentials/captures/store.py:CapturedSecrets._known": REF,
    "credentials/certificates.py:Certificates._known": "a key's, and so its account's",
    "credentials/documents.py:Documents._kept": "public discovery documents by provider and URL",
    "credentials/learnt.py:Learnt._counts": ACCOUNT,
    "credentials/learnt.py:Learnt._facts": ACCOUNT,
    "credentials/memory.py:Memory._slots": ACCOUNT,
    "credentials/memory.py:Memory._vocabularies": AGENT,
    "credentials/refresher.py:Refresher._unstored": ACCOUNT,
    "credentials/under_way.py:UnderWay._works": "whatever its owner says, which stands here too",
    "credentials/vc/sdjwt.py:_Unfolding.placed": ONE,
    "egress/askers.py:Askers._busy": AGENT,
    "egress/askers.py:Askers._waiting": AGENT,
    "egress/resolver.py:Resolver._known": ALL,
    "egress/trust.py:TrustedContexts._contexts": ALL,
    "engine/clocks.py:Clocks._streams": ONE,
    "engine/lane.py:MitmproxyLane._slots": AGENT,
    "engine/master.py:StrictAddons._arguments": ALL,
    "engine/master.py:StrictAddons._handlers": ALL,
    "engine/tls.py:AgentSide._contexts": "our own certificates by host: the same for everybody",
    "engine/tls.py:UpstreamSide._contexts": "trust, and the certificate itself where an account has one",
    "front/listener.py:Front._per_agent": AGENT,
    "identity/locks.py:Locks._now": "what is locked, by kind and name",
    "identity/registry.py:AgentRegistry._known": AGENT,
    "identity/registry.py:AgentRegistry._named": AGENT,
    "identity/tasks.py:TaskAuthenticator._remembered": AGENT,
    "identity/throttle.py:Throttle._spent": "an address's, before anybody is known",
    "identity/workload.py:WorkloadAuthenticator._remembered": AGENT,
    "keys/pkcs11.py:Pkcs11Backend._sessions": ALL,
    "keys/pkcs11.py:Pkcs11Backend._signers": REF,
    "keys/pkcs11.py:Pkcs11Backend._wrong_pins": ALL,
    "keys/remote.py:RemoteBackend._known": REF,
    "keys/ring.py:KeyRing._loaded": REF,
    "keys/ring.py:KeyRing._made": ACCOUNT,
    "keys/tls.py:TlsIdentity._contexts": "one account's own object",
    "manifest/pages.py:Manifest._kept": AGENT,
    "manifest/refusals.py:Refusals._last": AGENT,
    "pipeline.py:Pipeline._pending": ONE,
    "policy/engine.py:Policies._handles": AGENT,
    "policy/slices.py:Slices._by_scope": ALL,
    "policy/slices.py:Slices._known": "policies by the entities that they can match",
    "policy/slices.py:Slices._made": ALL,
    "risk/history.py:History._known": AGENT,
    "secretstore/exec.py:ExecStore._known": REF,
    "secretstore/file.py:FileStore._known": REF,
    "secretstore/k8s.py:MountedStore._known": REF,
    "secretstore/kept.py:Kept._known": REF,
    "secretstore/local.py:LocalStore._known": REF,
    "secretstore/vault.py:VaultStore._leases": REF,
    "secretstore/vault.py:VaultStore._lent": REF,
    "secretstore/vault.py:VaultStore._locks": REF,
}
HOLDS = {ACCOUNT: ("AccountId", "GrantKey", "Place"), AGENT: ("Agent", "Identity", "Subject", "str", "bytes", "Key")}


@functools.cache
def remembered() -> dict[str, str]:
    """Every attribute that is declared as something that remembers: where it is, and its key's type."""
    found = {}
    for name in WATCHED:
        for path in [ROOT / name] if name.endswith(".py") else sorted((ROOT / name).rglob("*.py")):
            text = path.read_text()
            if DECLARED.search(text) is None:  # parsing takes a while
                continue
            for owner in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)):
                for node in ast.walk(owner):
                    key = key_of(node.annotation) if isinstance(node, ast.AnnAssign) else None
                    if key is not None and isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
                        found[f"{path.relative_to(ROOT).as_posix()}:{owner.name}.{node.target.attr}"] = key
    return found


def key_of(annotation: ast.expr) -> str | None:
    for node in ast.walk(annotation):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).rpartition(".")[2] in REMEMBERING:
            inner = node.slice
            return ast.unparse(inner.elts[0] if isinstance(inner, ast.Tuple) else inner)
    return None


def test_h_12_everything_that_remembers_is_accounted_for() -> None:
    """H-12: a new cache fails here until it has its row."""
    found, known = set(remembered()), set(KEYS)
    assert (sorted(found - known), sorted(known - found)) == ([], [])


@pytest.mark.parametrize("place", [place for place, why in KEYS.items() if why in HOLDS])
def test_h_12_the_key_holds_an_account_or_an_agent(place: str) -> None:
    """H-12: by the type of the key as it is declared."""
    key = remembered()[place]
    assert any(word in key for word in HOLDS[KEYS[place]]), key


def test_h_12_what_identifies_an_account_or_a_connection_says_whose_it_is() -> None:
    """H-12: an account is one of a provider, which is one tenant's; a connection is an agent's and an account's."""
    names = {kind: [field.name for field in dataclasses.fields(kind)] for kind in (GrantKey, Dial, AccountId, Agent)}
    assert {"account", "agent"} <= set(names[GrantKey])
    assert {"account", "agent"} <= set(names[Dial])
    assert names[AccountId] == ["provider", "name"]
    assert "tenant" in names[Agent]
    assert all(field.compare for field in dataclasses.fields(Dial)), "two dials that differ would share a connection"
