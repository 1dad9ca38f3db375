"""An image with this machine's PostgreSQL in place of the official one, which cannot be fetched where the tests run.

Its entrypoint does what the official image's documentation says of the variables that deploy/compose/shared.yaml sets.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.deploy.podman import run
from tests.rig.postgres import found

ENTRYPOINT = """\
#!/bin/sh
set -eu
chmod 3775 /var/run/postgresql || :
export LD_LIBRARY_PATH=/opt/libraries LC_ALL=C.UTF-8
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-host=scram-sha-256 $POSTGRES_INITDB_ARGS
  pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
  PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@" -D "$PGDATA"
"""
BASE = "localhost/briefcased-base:trixie"
CONTAINERFILE = """\
FROM {base}
COPY root/ /
COPY --chown=999:999 run/ /run/
RUN echo postgres:x:999:999::/var/lib/postgresql:/bin/sh >> /etc/passwd && mkdir -p /var/lib/postgresql/data \
 && chown -R 999:999 /var/lib/postgresql
ENV PATH={programs}:/usr/bin:/bin LD_LIBRARY_PATH=/opt/libraries
ENTRYPOINT ["/entrypoint"]
"""
SYSTEM = re.compile(r"/(?:ld-linux|lib(?:c|m|dl|pthread|rt|resolv|util)\.so)")
"""The C library's own, of which the image has newer ones."""


def database_image() -> str:
    """Its name; built once for what is in it. Needs the base image, which building ours makes."""
    server = found("postgres")
    assert server is not None
    base = run("podman", "image", "inspect", "--format={{.Id}}", BASE).stdout
    content = repr((base, run(server, "--version").stdout, ENTRYPOINT, CONTAINERFILE))
    name = f"localhost/briefcased-postgres:test-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if run("podman", "image", "exists", name, check=False).returncode != 0:
        _build(name, server)
    return name


def _build(tag: str, server: str) -> None:
    programs = Path(server).resolve().parent
    version = programs.parent.name
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        (root / "opt" / "libraries").mkdir(parents=True)
        (Path(name) / "run" / "postgresql").mkdir(parents=True)
        (Path(name) / "run" / "postgresql").chmod(
            0o3775
        )  # not made by a RUN: what that writes below /run does not stay
        shutil.copytree(programs.parent, root / str(programs.parent).lstrip("/"))
        shutil.copytree(f"/usr/share/postgresql/{version}", root / f"usr/share/postgresql/{version}")
        needed = "".join(
            subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False).stdout
            for path in programs.iterdir()
        )
        for library in sorted(set(re.findall(r"=> (/\S+)", needed))):
            if not SYSTEM.search(library):
                shutil.copy(library, root / "opt" / "libraries")
        (root / "entrypoint").write_text(ENTRYPOINT)
        (root / "entrypoint").chmod(0o755)
        (Path(name) / "Containerfile").write_text(CONTAINERFILE.format(base=BASE, programs=programs))
        run("buildah", "build", "--isolation=chroot", f"--tag={tag}", name, timeout_s=300)
