"""What approvals are made of, put together for `proxy/app.py`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from proxy.approval.approvers import Approvers
from proxy.approval.channels.courier import Courier
from proxy.approval.channels.outbox import Outbox
from proxy.approval.channels.slack_incoming import SlackIncoming
from proxy.approval.grant_store import GrantStore
from proxy.approval.key_store import ApproverKeys
from proxy.approval.proofs import Proofs
from proxy.approval.recorder import Recorder
from proxy.approval.registrar import Registrar
from proxy.approval.service import Approvals
from proxy.approval.store import ApprovalStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from proxy.approval.recorder import Write
    from proxy.approval_settings import ApprovalSettings
    from proxy.clock import Clock
    from proxy.db.sealing import Seal
    from proxy.egress.http import HttpClient
    from proxy.model import Operator
    from proxy.secretstore import SecretStores


@dataclass(frozen=True, slots=True)
class ApprovalServices:
    """One of each for every process.

    Attributes:
        approvals: the agents' side.
        approvers: the other side; `registrar` keeps the keys that they sign with.
        slack: answers what Slack sends; its `routes()` are to be mounted.
        courier: tells approvers; its `run()` is to be started.
    """

    approvals: Approvals
    approvers: Approvers
    registrar: Registrar
    slack: SlackIncoming
    courier: Courier


def approval_services(
    settings: ApprovalSettings,
    *,
    database: Engine,
    seal: Seal,
    stores: SecretStores,
    http: HttpClient,
    clock: Clock,
    boot: str,
    write: Write,
    revoked: Callable[[str, str | None], bool],
    also: Callable[[Operator], frozenset[str]],
) -> ApprovalServices:
    """Everything about approvals, on `database`; `boot` tells one boot of this machine from another.

    `write` makes the receipt of a change durable; `revoked` says whether an operator of a tenant was one and is no
    longer, `also` under which other names a person decides.
    """
    store = ApprovalStore(database, seal, clock, boot=boot)
    read_secret = partial(stores.get, at_least=1)
    courier: Courier
    approvals = Approvals(
        store,
        grants=GrantStore(database, clock, boot=boot),
        settings=settings,
        key=seal.derived("approval fingerprints"),
        clock=clock,
        tell=lambda _: courier.wake(),
    )
    courier = Courier(
        Outbox(database, clock),
        store,
        settings=lambda: approvals.settings,
        http=http,
        read_secret=read_secret,
        clock=clock,
    )
    keys, record = ApproverKeys(database, clock), Recorder(write)
    proofs = Proofs(keys, clock.wall_ms)
    approvers = Approvers(approvals, proofs, record, also=also)
    slack = SlackIncoming(
        settings=lambda: approvals.settings,
        store=store,
        approvers=approvers,
        once=keys.once,
        revoked=revoked,
        read_secret=read_secret,
        clock=clock,
    )
    return ApprovalServices(approvals, approvers, Registrar(keys, proofs, record), slack, courier)
