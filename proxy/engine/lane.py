"""The mitmproxy lane as a service: takes connections from the front, drains on stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from mitmproxy.proxy import mode_specs

from proxy.engine.handler import SidecarHandler
from proxy.engine.layers import plain_stack, tls_stack
from proxy.engine.master import SidecarMaster
from proxy.engine.pins import check_seams, pinned
from proxy.engine.proved import PROVED
from proxy.engine.sockets import PrefixedReader
from proxy.exchange import Capture
from proxy.model import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import Layer

    from proxy.engine.sockets import Connector
    from proxy.exchange import Exchange, Tunnel
    from proxy.settings import Limits


END_WITHIN_S: Final = 5.0


class MitmproxyLane:
    """Serves connections through mitmproxy's layers. Construct inside a running loop.

    Raises:
        EngineMismatchError: the installed mitmproxy differs from the one proved.
    """

    def __init__(self, *, addons: tuple[object, ...], dialler: Connector, limits: Limits) -> None:
        check_seams(PROVED)
        self.master: Final = SidecarMaster(addons)
        self._options: Final = pinned(self.master.options, limits)
        self._dialler: Final = dialler
        self._limits: Final = limits
        self._mode: Final = mode_specs.ProxyMode.parse("regular")
        self._slots: Final[defaultdict[tuple[str, str, int], asyncio.Semaphore]] = defaultdict(
            lambda: asyncio.Semaphore(limits.max_upstreams_per_host)
        )
        self._handlers: Final[set[SidecarHandler]] = set()
        self._empty: Final = asyncio.Event()
        self._empty.set()

    async def start(self) -> None:
        """Run the addons' `running` hooks; a failure aborts the start."""
        await self.master.running()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tunnel: Tunnel, prefix: bytes
    ) -> None:
        """Serve one agent connection until it ends. `prefix` was read by the front and comes first."""

        def build(context: Context) -> Layer:
            return self._stack(context, tunnel)

        handler = SidecarHandler(
            reader=PrefixedReader(prefix, reader),
            writer=writer,
            options=self._options,
            mode=self._mode,
            tunnel=tunnel,
            addons=self.master.addons,
            dialler=self._dialler,
            slots=self._slots,
            build=build,
        )
        self._handlers.add(handler)
        self._empty.clear()
        try:
            await handler.run()
        finally:
            self._handlers.discard(handler)
            if not self._handlers:
                self._empty.set()

    def _stack(self, context: Context, tunnel: Tunnel) -> Layer:
        if tunnel.authority is None:
            absolute = tunnel.capture is Capture.ABSOLUTE
            return plain_stack(context, max_head_bytes=self._limits.max_header_bytes, absolute=absolute)
        context.server.address = (tunnel.authority.host, tunnel.authority.port)
        context.server.tls = True
        return tls_stack(context, max_head_bytes=self._limits.max_header_bytes)

    def cut(self, fault: Callable[[Tunnel, Exchange | None], str | None]) -> None:
        """Reset every connection on which something runs that `fault` names a reason against, and close idle ones."""
        for handler in list(self._handlers):
            running = [exchange for exchange in handler.open_exchanges if exchange.allowed and not exchange.ended]
            doomed = {exchange: why for exchange in running if (why := fault(handler.tunnel, exchange)) is not None}
            for exchange, why in doomed.items():
                exchange.fault = exchange.fault or why
            if doomed:
                handler.abort()
            elif handler.idle and handler.tunnel.agent != ANONYMOUS and fault(handler.tunnel, None) is not None:
                handler.close_now()

    @property
    def connections(self) -> int:
        """Agent connections being served."""
        return len(self._handlers)

    async def drain(self, limit_s: float) -> None:
        """Close idle connections, let busy ones finish for at most `limit_s` seconds, then reset the rest."""
        deadline = asyncio.get_running_loop().time() + limit_s
        while self._handlers and asyncio.get_running_loop().time() < deadline:
            for handler in list(self._handlers):
                handler.close_when_idle()
            try:
                await asyncio.wait_for(self._empty.wait(), 0.05)
            except TimeoutError:
                continue
        for handler in list(self._handlers):
            handler.abort()
            handler.close_now()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), END_WITHIN_S)
        await self.master.done()
