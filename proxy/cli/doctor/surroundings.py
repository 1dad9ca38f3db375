"""The environment of an attempt: what its program needs to be found, a home that is thrown away, the proxy. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.cli.doctor.process import MARK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEPT: Final = (
    "PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "JAVA_HOME", "GOROOT", "DOTNET_ROOT", "NODE_PATH", "NVM_DIR",
    "VIRTUAL_ENV", "VOLTA_HOME", "PYENV_ROOT", "RUSTUP_HOME", "ASDF_DATA_DIR", "MISE_DATA_DIR", "RBENV_ROOT",
    "PERL5LIB", "GEM_PATH",
)  # fmt: skip
"""Of the operator's own variables only these, so that no secret comes near a program that is tried."""
AT_HOME: Final = {"PYENV_ROOT": ".pyenv", "RUSTUP_HOME": ".rustup", "ASDF_DATA_DIR": ".asdf", "RBENV_ROOT": ".rbenv"}
"""Where version managers look below the home unless told: they find nothing in a home that is thrown away."""


def attempt_environment(
    operators: Mapping[str, str], *, real_home: Path, folder: Path, mark: str, proxy: Mapping[str, str]
) -> dict[str, str]:
    """What a program is started with; `proxy` are the variables of `briefcased run`, or those for trust alone."""
    kept = {name: operators[name] for name in KEPT if name in operators}
    managers = {
        name: str(real_home / place)
        for name, place in AT_HOME.items()
        if name not in kept and (real_home / place).is_dir()
    }
    own = {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "XDG_DATA_HOME": str(folder / ".local/share"),
        "XDG_STATE_HOME": str(folder / ".local/state"),
        "XDG_RUNTIME_DIR": str(folder),
        "NO_COLOR": "1",
        "CI": "1",
        MARK: mark,
    }
    return {"LANG": "C.UTF-8", **kept, **managers, **own, **proxy}
