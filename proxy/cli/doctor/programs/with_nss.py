"""Put the last certificate of a bundle, the sidecar's root, into the NSS store of $HOME, then become a program."""

import os
import subprocess
import sys
from pathlib import Path

END = "-----END CERTIFICATE-----"


def main(bundle: str, program: list[str]) -> None:
    """`with_nss.py BUNDLE PROGRAM ARGUMENT…`; needs certutil of NSS."""
    last = Path(bundle).read_text("ascii").strip().split(END)[-2] + END + "\n"
    store = Path(os.environ["HOME"]) / ".pki" / "nssdb"
    store.mkdir(parents=True, exist_ok=True)
    certificate = store / "root.pem"
    certificate.write_text(last)
    certutil = ("certutil", "-d", f"sql:{store}")
    subprocess.run((*certutil, "-N", "--empty-password"), check=True)  # noqa: S603
    subprocess.run((*certutil, "-A", "-t", "C,,", "-n", "briefcased", "-i", str(certificate)), check=True)  # noqa: S603
    os.execvp(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
