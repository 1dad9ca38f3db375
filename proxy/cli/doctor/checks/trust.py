"""The interception CA: its files, its time, and copies of it where they do not belong."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509

from certs.bundle import certificates
from certs.issue import ROOT_NAME
from proxy.cli.doctor.report import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.cli.doctor.checks.situation import Situation

CHECK: Final = "interception CA"
STORE: Final = "system trust"
SOON: Final = timedelta(days=30)
OTHERS: Final = 0o007
ROTATE: Final = "Run `briefcased ca rotate`, then `briefcased reload`, and hand out the new bundle."
SYSTEM_STORES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)


def trust(situation: Situation) -> Iterator[Finding]:
    """The CA at rest in the state directory; `briefcased run` does not use it."""
    path = situation.home / "ca" / "roots.json"
    try:
        ends = [cert.not_valid_after_utc for cert in _roots(path)]
    except FileNotFoundError:
        yield Finding(
            CHECK, Level.OK, "there is none at rest yet; `briefcased up` makes it, `briefcased run` needs none"
        )
        return
    except (OSError, ValueError, KeyError, TypeError):
        yield Finding(
            CHECK, Level.PROBLEM, f"{path} cannot be read", "Restore it, or remove it and hand out a new bundle."
        )
        return
    yield _judged(max(ends), datetime.now(UTC))
    for file in (path.parent, path, path.parent / "passphrase"):
        if file.exists() and file.stat().st_mode & OTHERS:
            mode = "0700" if file.is_dir() else "0600"
            yield Finding(CHECK, Level.PROBLEM, f"{file} is open to every account", f"Run: chmod {mode} {file}")


def _roots(path: Path) -> list[x509.Certificate]:
    entries = json.loads(path.read_bytes())["roots"]
    return [x509.load_pem_x509_certificate(entry["certificate"].encode()) for entry in entries]


def _judged(end: datetime, now: datetime) -> Finding:
    day = f"{end:%Y-%m-%d}"
    if end <= now:
        return Finding(CHECK, Level.PROBLEM, f"its root expired on {day}", ROTATE)
    if end - now < SOON:
        return Finding(CHECK, Level.WARNING, f"its root expires on {day}", ROTATE)
    return Finding(CHECK, Level.OK, f"its root is valid until {day}")


def system_store(_: Situation) -> Iterator[Finding]:
    """Roots of ours in the machine's own store: every program of every account trusts them."""
    found = [path for path in map(Path, SYSTEM_STORES) if path.is_file()]
    holding = [path for path in found if holds_ours(path.read_bytes())]
    for path in holding:
        yield Finding(
            STORE, Level.WARNING, f"{path} holds a root of an interception CA of briefcased",
            "Remove it from the machine's store unless that is meant; agents get it by their own bundle.",
        )  # fmt: skip
    if not holding:
        where = str(found[0]) if found else "no store of this machine"
        yield Finding(STORE, Level.OK, f"no root of ours in {where}")


def holds_ours(pem: bytes) -> bool:
    """Whether one of the certificates is a root that briefcased made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # public roots have oddities that do not matter here
        return any(ROOT_NAME.encode() in der for der in certificates(pem))
