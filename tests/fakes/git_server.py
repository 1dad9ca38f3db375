"""A real git server on the rig's provider: `git http-backend` as CGI, behind HTTP Basic where a password is given."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fakes.demands import demanding

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig import Provider, Seen

SERVICES = ("info/refs", "git-upload-pack", "git-receive-pack")
IDENTITY = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.test",
            "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.test"}  # fmt: skip
LIMIT_S = 20


@dataclass(frozen=True)
class GitServer:
    """Bare repositories below `root`."""

    root: Path

    def create(self, name: str) -> None:
        """A repository with one commit on `main`."""
        bare, work = self.root / name, self.root / "seed"
        self._git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
        self._git("-C", str(bare), "config", "http.receivepack", "true")
        self._git("init", "--quiet", "--initial-branch=main", str(work))
        (work / "README").write_text("hello from the server\n")
        self._git("-C", str(work), "add", "README")
        self._git("-C", str(work), "commit", "--quiet", "-m", "first")
        self._git("-C", str(work), "push", "--quiet", str(bare), "main")

    def log(self, name: str) -> list[str]:
        """The subjects of the commits on `main`, newest first."""
        return self._git("-C", str(self.root / name), "log", "--format=%s", "main").splitlines()

    def serve(self, provider: Provider, name: str, *, user: str, password: str) -> None:
        """Answer for the repository on `provider`, to who brings this user and password."""
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        for service in SERVICES:
            provider.on(f"/{name}/{service}", demanding("authorization", f"Basic {pair}", self._answer))

    async def _answer(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One CGI run (RFC 3875)."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=self._variables(seen), stdin=pipe, stdout=pipe
        )
        async with asyncio.timeout(LIMIT_S):
            out, _ = await process.communicate(seen.body)
        head, _, body = out.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"status:")]
        status = next((line[8:] for line in head.split(b"\r\n") if line.lower().startswith(b"status:")), b"200 OK")
        lines = [b"HTTP/1.1 " + status, *lines, b"Content-Length: %d" % len(body)]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def _variables(self, seen: Seen) -> dict[str, str]:
        given = {
            "CONTENT_TYPE": seen.one("content-type"),
            "HTTP_CONTENT_ENCODING": seen.one("content-encoding"),
            "HTTP_GIT_PROTOCOL": seen.one("git-protocol"),
            "GIT_PROTOCOL": seen.one("git-protocol"),
        }
        return {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": seen.method,
            "PATH_INFO": seen.path,
            "QUERY_STRING": seen.target.partition("?")[2],
            "CONTENT_LENGTH": str(len(seen.body)),
            "REMOTE_USER": "ada",
            **{name: value for name, value in given.items() if value is not None},
        }

    def _git(self, *arguments: str) -> str:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.root), **IDENTITY}
        done = subprocess.run(["git", *arguments], env=env, check=True, capture_output=True, text=True, timeout=LIMIT_S)
        return done.stdout
