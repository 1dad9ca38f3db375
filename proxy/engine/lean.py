"""mitmproxy without the add-ons of its own programs, which this one never runs."""

from __future__ import annotations

import importlib.util
import sys
from typing import Final

PACKAGE: Final = "mitmproxy.addons"


def without_default_addons() -> None:
    """Let modules of `mitmproxy.addons` be imported one by one, without the package's own `__init__`.

    Its master needs two of them, and the `__init__` imports all: with them come Flask, an LDAP client and a parser
    generator, a third of the time that a start takes, and code that has no business beside secrets. Does nothing
    where the package is loaded already.
    """
    if PACKAGE in sys.modules:
        return
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
