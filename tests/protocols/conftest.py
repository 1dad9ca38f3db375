"""Providers that speak gRPC, behind the sidecar."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from certs.authority import CertificateAuthority
from proxy.clock import SystemClock
from tests.fakes.grpc_server import GrpcProvider
from tests.rig import Provider, running_rig
from tests.rig.provider import server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.rig import Rig

HOST = "api.example.test"


@contextlib.asynccontextmanager
async def grpc_rig(
    folder: Path, *, compression: grpc.Compression | None = None, **options: Any
) -> AsyncIterator[tuple[Rig, GrpcProvider]]:
    """A sidecar whose provider is a grpcio server with a certificate that the sidecar trusts."""
    authority = CertificateAuthority.ephemeral(patterns=[HOST], clock=SystemClock())
    server_context(authority, HOST, folder)
    root = folder / "grpc-root.pem"
    root.write_bytes(authority.bundle_pem())
    upstream = GrpcProvider(folder / f"{HOST}.pem", compression=compression)
    await upstream.start()
    try:
        provider = Provider(folder, (HOST,), port=upstream.port, root=root)
        async with running_rig(folder, provider=provider, **options) as rig:
            yield rig, upstream
    finally:
        await upstream.stop()


@contextlib.asynccontextmanager
async def channel(rig: Rig) -> AsyncIterator[grpc.aio.Channel]:
    """A grpcio client that goes through the sidecar with a CONNECT."""
    trust = grpc.ssl_channel_credentials(rig.bundle.read_bytes())
    options = [("grpc.http_proxy", rig.url()), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"{HOST}:{rig.provider.port}", trust, options=options) as opened:
        yield opened


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Rig, GrpcProvider, grpc.aio.Channel]]:
    async with grpc_rig(tmp_path) as (rig, upstream), channel(rig) as opened:
        yield rig, upstream, opened
