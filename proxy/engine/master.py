"""mitmproxy's master and addon manager, made strict: a hook that fails refuses, it never lets through."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
from typing import TYPE_CHECKING, Final, Protocol

from mitmproxy import addonmanager, http, master, options
from mitmproxy.addons import proxyserver
from mitmproxy.hooks import ConfigureHook, DoneHook, RunningHook

from proxy.engine.pins import OPTIONS
from proxy.errors import Denial
from proxy.exchange import ANSWER_KEY, EXCHANGE_KEY, Exchange

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mitmproxy.hooks import Hook

    from proxy.engine.handler import SidecarHandler

_log: Final = logging.getLogger("proxy.engine")
_STARTUP: Final = (addonmanager.LoadHook.name, ConfigureHook.name, RunningHook.name, DoneHook.name)
_BEFORE_ANSWER: Final = frozenset({"requestheaders", "request", "sidecar_retry", "sidecar_collected"})
_FAILED: Final = Denial("policy_unavailable", "A part of the proxy failed while it decided.", by="engine")


class HookFailedError(Exception):
    """A hook failed at a place where only closing the connection is safe."""


class ConnectionWatcher(Protocol):
    """An addon that is told when an agent's connection has ended."""

    async def connection_ended(self, handler: SidecarHandler) -> None:
        """Every exchange still open on `handler` must be ended now."""
        ...


class DefineOptions:
    """Defines the options that mitmproxy's layers read, by mitmproxy's own definitions, without its server."""

    name = "defineoptions"

    def load(self, loader: addonmanager.Loader) -> None:
        """mitmproxy's hook."""
        proxyserver.Proxyserver().load(loader)


class StrictAddons(addonmanager.AddonManager):
    """Runs the handlers of a hook in order; synchronous ones inline.

    An exception, an `AddonHalt` or a stray cancellation becomes a refusal: before an answer has begun the request is
    refused with a problem document, elsewhere `HookFailedError` makes the handler reset the connection.
    """

    def __init__(self, sidecar: master.Master) -> None:
        super().__init__(sidecar)
        self._arguments: dict[type[Hook], str] = {}
        self._handlers: dict[str, tuple[Callable[..., object], ...]] = {}

    def register(self, addon: object) -> object:
        """As mitmproxy; the compiled handler lists start afresh."""
        self._handlers.clear()
        return super().register(addon)

    def remove(self, addon: object) -> None:
        """As mitmproxy; the compiled handler lists start afresh."""
        self._handlers.clear()
        super().remove(addon)

    def handlers(self, name: str) -> tuple[Callable[..., object], ...]:
        """Every addon's handler of the hook `name`, compiled once."""
        found = self._handlers.get(name)
        if found is None:
            addons = addonmanager.traverse(self.chain)
            found = tuple(h for a in addons if callable(h := getattr(a, name, None)))
            self._handlers[name] = found
        return found

    def fire(self, hook: Hook) -> Awaitable[None] | None:
        """Run `hook`. None when it is done, else an awaitable that finishes it. Raises `HookFailedError`."""
        handlers = self.handlers(hook.name)
        if not handlers:
            return None
        data = self._argument(hook)
        for index, handler in enumerate(handlers):
            try:
                result = handler(data)
            except Exception as error:  # noqa: BLE001  # the guard: whatever failed, refuse
                self._refuse(hook, data, error)
                return None
            if inspect.isawaitable(result):
                return self._rest(hook, data, result, handlers[index + 1 :])
        return None

    def _argument(self, hook: Hook) -> object:
        """The hook's one argument; mitmproxy looks its name up through `dataclasses` each time."""
        name = self._arguments.get(type(hook))
        if name is None:
            (field,) = dataclasses.fields(hook)  # type: ignore[arg-type]
            name = self._arguments[type(hook)] = field.name
        return getattr(hook, name)

    async def _rest(
        self, hook: Hook, data: object, first: Awaitable[object], later: tuple[Callable[..., object], ...]
    ) -> None:
        try:
            await first
            for handler in later:
                result = handler(data)
                if inspect.isawaitable(result):
                    await result
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._refuse(hook, data, error)
        except Exception as error:  # noqa: BLE001  # the guard: whatever failed, refuse
            self._refuse(hook, data, error)

    async def trigger_event(self, event: Hook) -> None:
        """mitmproxy's entry; start-up hooks that fail abort the start."""
        if event.name in _STARTUP:
            for addon in self.chain:
                await self.invoke_addon(addon, event)
        elif (waiting := self.fire(event)) is not None:
            await waiting

    async def connection_ended(self, handler: SidecarHandler) -> None:
        """Tell every watching addon; a failure is logged, the connection is gone anyway."""
        for watch in self.handlers("connection_ended"):
            try:
                told = watch(handler)
                if inspect.isawaitable(told):
                    await told
            except Exception as error:  # noqa: BLE001  # the guard: the others must still hear of it
                _log.error("closing the books of a connection failed: %s", type(error).__name__)

    def _refuse(self, hook: Hook, data: object, error: BaseException) -> None:
        # The exception's text may hold request data or secrets; its type is enough to find the place.
        _log.error("hook %s failed: %s at %s", hook.name, type(error).__name__, _place(error))
        if hook.name not in _BEFORE_ANSWER or not isinstance(data, http.HTTPFlow):
            raise HookFailedError(hook.name)
        exchange = data.metadata.get(EXCHANGE_KEY)
        if isinstance(exchange, Exchange):
            exchange.denial, exchange.forward = exchange.denial or _FAILED, None
        data.request.stream = False
        data.metadata[ANSWER_KEY] = _FAILED


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


class SidecarMaster(master.Master):
    """A master with only what the lane needs: no server, no default addons, pinned options."""

    addons: StrictAddons

    def __init__(self, addons: tuple[object, ...]) -> None:
        super().__init__(options.Options(), with_termlog=False)
        self._legacy_log_events.uninstall()
        self.addons = StrictAddons(self)
        self.addons.add(DefineOptions(), *addons)
        self.options.update(**OPTIONS)
