"""Whether another distribution provides a package that this one imports by a common name."""

from __future__ import annotations

from importlib.metadata import distributions
from typing import TYPE_CHECKING, Final

from proxy.cli.doctor.report import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import Distribution

    from proxy.cli.doctor.checks.situation import Situation

CHECK: Final = "import names"
OWN: Final = "credential-briefcase"
NAMES: Final = ("proxy", "addons", "certs")


def owners(_: Situation) -> Iterator[Finding]:
    """Looks at what is installed beside us: the same files may have been written twice."""
    others = sorted({(name, owner) for owner, name in _provided() if owner != OWN})
    for name, owner in others:
        text = f"the distribution {owner} provides a package `{name}` too"
        yield Finding(
            CHECK, Level.PROBLEM, text, "Install credential-briefcase alone (uv tool, pipx, or its own venv)."
        )
    if not others:
        yield Finding(CHECK, Level.OK, f"nothing else provides {', '.join(NAMES)}")


def _provided() -> Iterator[tuple[str, str]]:
    for distribution in distributions():
        for name in NAMES:
            if name in _top_level(distribution):
                yield (distribution.name or "").lower().replace("_", "-"), name


def _top_level(distribution: Distribution) -> set[str]:
    """What it installed, by its list of files as text (to parse hundreds takes seconds), or by `top_level.txt`."""
    record = "\n" + (distribution.read_text("RECORD") or "")
    said = (distribution.read_text("top_level.txt") or "").split()
    return {name for name in NAMES if f"\n{name}/" in record or f"\n{name}.py," in record or name in said}
