"""Every client the doctor knows, in the order of the table. A new one is an entry of its group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.cli.doctor.clients import agents, browsers, cloud, javascript, python, shell, toolchains

if TYPE_CHECKING:
    from proxy.cli.doctor.client import Client

CLIENTS: Final[tuple[Client, ...]] = (
    *shell.CLIENTS,
    *python.CLIENTS,
    *javascript.CLIENTS,
    *toolchains.CLIENTS,
    *cloud.CLIENTS,
    *browsers.CLIENTS,
    *agents.CLIENTS,
)
