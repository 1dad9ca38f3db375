"""Shipped profiles, moved to the port on which the rig's provider listens."""

from __future__ import annotations

import re

from proxy.catalog.loader import shipped

HOST = re.compile(r"^( *- \{host: [^,}]+)(?!.*port:)", re.MULTILINE)
UPGRADE = ", http_upgrade: true"
PORT = "@port@"


def shipped_text(name: str) -> str:
    """The text of a shipped profile as `running_rig` takes it: every host has `port: {port}`, but those with one of their own.

    `http_upgrade` goes, because it is for port 443 only.
    """
    text = (shipped() / f"{name}.yaml").read_text().replace(UPGRADE, "")
    moved, count = HOST.subn(rf"\1, port: {PORT}", text)
    assert count, f"{name} has no host"
    return moved.replace("{", "{{").replace("}", "}}").replace(PORT, "{port}")
