"""Every secret value there was, so that answers can be searched for it, and what stands in its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from proxy.credentials.standin import StandIns
    from proxy.model import AccountId
    from proxy.secret import Secret
    from proxy.secretstore import SecretStores

MAX_OLD_VALUES: Final = 16
MAX_OLD_BYTES: Final = 16 * 1024
"""Of an account's values that newer ones have replaced: what is searched for costs time and memory by its length, for
every agent, and how long and how often new ones come is the provider's choice."""


@dataclass(slots=True)
class _Slot:
    """The values that one secret of one account has had, newest last."""

    account: AccountId
    name: str
    values: list[Secret] = field(default_factory=list)

    @property
    def old_bytes(self) -> int:
        """How long all but the newest are together."""
        return sum(map(len, self.values[:-1]))


class Memory[V]:
    """One per process. `compile_vocabulary` builds what the scanner searches for, from pairs of value and stand-in.

    Values that were rotated away stay: an answer may still quote them (E-12).
    """

    def __init__(
        self,
        *,
        stores: SecretStores,
        stand_ins: StandIns,
        compile_vocabulary: Callable[[Iterable[tuple[bytes, bytes]]], V],
    ) -> None:
        self._stores: Final = stores
        self.stand_ins = stand_ins
        self._compile: Final = compile_vocabulary
        self._slots: Final[dict[tuple[AccountId, str, str], _Slot]] = {}
        self._vocabularies: Final[dict[str, V]] = {}

    async def preload(self, account: AccountId, refs: Mapping[str, str]) -> list[str]:
        """Read every secret of `account` once, so that answers are searched for it from the start; what failed."""
        failures = []
        for name, ref in refs.items():
            try:
                self.remember(account, name, await self._stores.get(ref))
            except SecretUnavailableError as missing:
                failures.append(f"{account}: {name}: {missing}")
        return failures

    def replace_stand_ins(self, stand_ins: StandIns) -> None:
        """Another configuration is in force."""
        self.stand_ins = stand_ins
        self._vocabularies.clear()

    def vocabulary(self, agent: str) -> V:
        """Everything to look for in an answer to `agent`, each with the stand-in that takes its place."""
        known = self._vocabularies.get(agent)
        if known is None:
            known = self._compile(
                (value.reveal(), self._in_place_of(agent, slot).encode())
                for slot in self._slots.values()
                for value in slot.values
            )
            self._vocabularies[agent] = known
        return known

    def _in_place_of(self, agent: str, slot: _Slot) -> str:
        return self.stand_ins.lookup(agent, slot.account, slot.name) or f"[{slot.account}:{slot.name}]"

    def remember(self, account: AccountId, name: str, secret: Secret, *, owner: str = "") -> None:
        """Search answers for `secret` from now on.

        `owner` is the agent that alone uses it, if it is for one: what others get takes no room from it.
        """
        key = (account, name, owner)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = _Slot(account, name)
        if slot.values and slot.values[-1] is secret:
            return
        if secret in slot.values:
            return
        slot.values.append(secret)
        del slot.values[:-MAX_OLD_VALUES]
        self._shorten(account)
        self._vocabularies.clear()

    def _shorten(self, account: AccountId) -> None:
        """Forget old values of `account` that are too long together, the oldest of the longest slot first."""
        slots = [slot for slot in self._slots.values() if slot.account == account and len(slot.values) > 1]
        while sum(slot.old_bytes for slot in slots) > MAX_OLD_BYTES:
            del max(slots, key=lambda slot: slot.old_bytes).values[0]
