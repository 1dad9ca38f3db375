"""What decides beyond the policies (approvals, risk, budgets, locks), put together for `proxy/app.py`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.approval_services import approval_services
from proxy.budget.service import Budgets
from proxy.budgeting import owner_in
from proxy.egress.http import HttpClient
from proxy.identity.locks import Locks
from proxy.identity.sessions import other_names
from proxy.risk.classifier import ExternalClassifier
from proxy.risk.history import History
from proxy.services import note_locks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from sqlalchemy import Engine

    from proxy.approval_services import ApprovalServices
    from proxy.clock import Clock
    from proxy.db.sealing import Seal
    from proxy.egress.dial import Dialler
    from proxy.receipts.log import ReceiptLog
    from proxy.secretstore import SecretStores
    from proxy.settings import Settings

CALL_S: Final = 10.0
CLASSIFIER_CALL_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class ControlServices:
    """One of each for every process."""

    people: ApprovalServices
    history: History
    classifier: ExternalClassifier
    budgets: Budgets
    locks: Locks

    def work(self) -> Iterator[Coroutine[None, None, None]]:
        """What runs beside the requests, until it is cancelled."""
        yield self.people.approvals.watch()
        yield self.people.courier.run()
        yield self.history.watch()
        yield self.locks.watch()
        yield self.budgets.watch()

    async def close(self) -> None:
        """Write what is left."""
        await self.budgets.close()
        await self.history.close()


async def control_services(
    settings: Settings,
    *,
    database: Engine,
    receipts: ReceiptLog,
    seal: Seal,
    stores: SecretStores,
    dialler: Dialler,
    clock: Clock,
    boot: str,
    revoked: Callable[[str, str | None], bool],
) -> ControlServices:
    """All of them, on the `database` that sidecars may share; `boot` tells one boot of this machine from another.

    `revoked` says whether an operator of a tenant was one and is no longer.
    """
    people = approval_services(
        settings.approvals,
        database=database,
        seal=seal,
        stores=stores,
        http=HttpClient(dialler=dialler, timeout_s=CALL_S),
        clock=clock,
        boot=boot,
        write=receipts.record_change,
        revoked=revoked,
        also=partial(other_names, database),
    )
    classifier = ExternalClassifier(
        HttpClient(dialler=dialler, timeout_s=CLASSIFIER_CALL_S),
        read_secret=partial(stores.get, at_least=1),  # no answer of a provider can quote it
        key=seal.derived("risk features"),
        clock=clock,
    )
    budgets = Budgets(database, owner=owner_in(receipts.chain), clock=clock)
    budgets.bury(receipts.is_over)
    locks = Locks(database, clock, changed=partial(note_locks, receipts))
    await locks.refresh()
    return ControlServices(people, History(database, clock=clock), classifier, budgets, locks)
