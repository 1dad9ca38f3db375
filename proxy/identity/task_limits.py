"""What a task token can be limited to, and the checks that say so. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from proxy.model import Action

type Value = str | datetime | set[str]

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
TASK: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ACTIONS: Final = frozenset(action.value for action in Action)
_FORMS: Final = {
    "accounts": re.compile(r"[a-z][a-z0-9_-]*/(\*|[a-z][a-z0-9_-]*)"),
    "operations": re.compile(r"read|write|admin|[a-z][a-z0-9_-]*:[A-Za-z0-9._-]+"),
    "methods": re.compile(r"[A-Z]{1,16}"),
    "hosts": re.compile(r"[a-z0-9:.-]{1,253}"),
    "paths": re.compile(r"/[A-Za-z0-9._~!$&()*+,;=:@%/-]{0,1000}"),
    "peers": re.compile(r"uid:\d{1,10}|ip:[0-9a-f:.]{2,45}|process:\d{1,10}:\d{1,20}"),
}
WORDS: Final = {
    "accounts": "provider/account or provider/*",
    "operations": "read, write, admin or profile:operation",
    "methods": "upper-case",
    "hosts": "lower-case names or addresses",
    "paths": "prefixes that begin with /",
    "peers": "uid:NUMBER, ip:ADDRESS or process:PID:START",
}


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """All that is given must hold; of one kind, one of its values must. Empty is no limit.

    Attributes:
        until_ms: when it ends; rounded down to seconds.
        operations: `profile:operation`, or the actions `read`, `write` and `admin`.
        paths: prefixes.
        peers: `uid:NUMBER` of a unix socket's other end, `ip:ADDRESS`, `process:PID:START` of it or an ancestor.
    """

    until_ms: int | None = None
    accounts: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()

    def checks(self) -> tuple[str, dict[str, Value]]:
        """Datalog with places for values, and the values. Raises `ValueError`: a value that is none."""
        for name, form in _FORMS.items():
            for value in getattr(self, name):
                if form.fullmatch(value) is None:
                    raise ValueError(f"{name}: they are {WORDS[name]}")
        code: list[str] = []
        values: dict[str, Value] = {}
        if self.until_ms is not None:
            code.append("time($time), $time < {until}")
            values["until"] = datetime.fromtimestamp(self.until_ms // 1000, UTC)
        whole = tuple(one.removesuffix("/*") for one in self.accounts if one.endswith("/*"))
        exact = tuple(one for one in self.accounts if not one.endswith("/*"))
        actions = tuple(one for one in self.operations if one in _ACTIONS)
        named = tuple(one for one in self.operations if one not in _ACTIONS)
        code += _either(values, account=exact, provider=whole)
        code += _either(values, action=actions, operation=named)
        code += _either(values, method=self.methods)
        code += _either(values, host=self.hosts)
        code += _either(values, peer=self.peers)
        if self.paths:
            code.append(" or ".join(f"path($path), $path.starts_with({{path{n}}})" for n, _ in enumerate(self.paths)))
            values |= {f"path{n}": path for n, path in enumerate(self.paths)}
        if not code:
            raise ValueError("say what the token is limited to")
        return "".join(f"check if {one}; " for one in code), values


def _either(values: dict[str, Value], **sets: tuple[str, ...]) -> list[str]:
    """One check: that one of the facts named is in its set; none where all sets are empty."""
    queries = []
    for fact, allowed in sets.items():
        if not allowed:
            continue
        values[f"{fact}s"] = set(allowed)
        queries.append(f"{fact}(${fact}), {{{fact}s}}.contains(${fact})")
    return [" or ".join(queries)] if queries else []
