"""moto as a provider over TLS: it plays IAM, STS, S3, DynamoDB and the secret stores, and checks signatures and policies."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import EnvironBuilder, run_wsgi_app

from tests.aws.conftest import Everywhere
from tests.rig.provider import Provider

if TYPE_CHECKING:
    from pathlib import Path

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}


class Moto(Provider):
    """Its WSGI application behind the rig's server, because werkzeug's own does not read chunked bodies to their end."""

    def __init__(self, folder: Path, hosts: tuple[str, ...]) -> None:
        super().__init__(folder, hosts)
        self._app = DomainDispatcherApplication(create_backend_app)
        self.handlers = Everywhere(self._answer)

    async def _answer(self, seen, _reader, writer):
        writer.write(await asyncio.to_thread(self._run, seen.method, seen.target, seen.headers, seen.body))

    def _run(self, method, target, headers, body):
        kept = [(n.title(), v) for n, v in headers if n not in ("transfer-encoding", "content-length")]
        host = dict(headers).get("host", "127.0.0.1")
        builder = EnvironBuilder(
            target.partition("?")[0], base_url=f"https://{host}", query_string=target.partition("?")[2], method=method,
            headers=kept, input_stream=io.BytesIO(body), content_length=len(body),
        )  # fmt: skip
        builder.request_uri = target
        environ = builder.get_environ()
        environ["RAW_URI"] = environ["REQUEST_URI"] = target
        chunks, status, fields = run_wsgi_app(self._app, environ, buffered=True)
        content = b"".join(chunks)
        gone = ("content-length", "transfer-encoding", "connection")
        lines = [f"{n}: {v}" for n, v in fields if n.lower() not in gone]
        length = {n.lower(): v for n, v in fields}.get("content-length") if method == "HEAD" else len(content)
        head = "\r\n".join([f"HTTP/1.1 {status}", *lines, f"Content-Length: {length or 0}", "", ""])
        return head.encode() + (b"" if method == "HEAD" else content)

    def reset(self) -> None:
        self._run("POST", "/moto-api/reset-auth", [("content-type", "text/plain")], b"inf")
        self._run("POST", "/moto-api/reset", [], b"")

    def check_from_now_on(self) -> None:
        """Signatures and policies are checked from now on."""
        self._run("POST", "/moto-api/reset-auth", [("content-type", "text/plain")], b"0")

    def client(self, service: str, key_id: str = "setup", key: str = "setup"):
        """A client beside the sidecar, for what has to be there beforehand. Blocks: to be used in a thread."""
        return boto3.client(
            service, "us-east-1", endpoint_url=f"https://127.0.0.1:{self.port}", verify=False,
            aws_access_key_id=key_id, aws_secret_access_key=key,
        )  # fmt: skip


def policy(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
