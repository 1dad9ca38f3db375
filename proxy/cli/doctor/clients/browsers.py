"""Browsers."""

from __future__ import annotations

from typing import Final

from proxy.cli.doctor.client import Client, Way

FLAGS: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--user-data-dir=$folder/profile",
)  # fmt: skip
NSS: Final = "the CA in the browser's own store (certutil -d sql:~/.pki/nssdb)"


def _chromium(command: str) -> Client:
    """Without a person at it: the proxy's password cannot be given by a variable, the CA only in NSS."""
    call = (command, *FLAGS, "--dump-dom", "$url/")
    return Client(
        command,
        command,
        (
            Way(call),
            Way(("python3", "$programs/with_nss.py", "$bundle", *call), NSS),
            Way(("python3", "$programs/with_nss.py", "$bundle", *call), NSS, proxied=False),
        ),
        (command, "--version"),
        patience=2,
    )


CLIENTS: Final = tuple(_chromium(command) for command in ("chromium", "google-chrome"))
