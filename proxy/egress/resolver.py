"""Names become addresses here and nowhere else: absolute, timed, every answer returned for vetting."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from proxy.egress.askers import Askers
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.clock import Clock
    from proxy.egress.addresses import Address

MAX_ADDRESSES: Final = 32
MAX_ENTRIES: Final = 1024
KEEP_S: Final = 10.0
KEEP_FAILURE_S: Final = 1.0
QUESTIONS: Final = 3
AGAIN_S: Final = 1.0
"""Until a question is asked again: glibc takes five seconds to notice that a packet was lost (resolv.conf(5))."""
THREADS: Final = 32
EACH: Final = 8
"""Threads for one agent's names."""


class Resolver:
    """The system's resolver, asked for absolute names, with a short memory.

    It is asked in threads of its own, which a name that nobody answers holds longer than we wait: the loop's are for
    databases and files. Questions that are repeated have others, so that they displace no first one; and no agent has
    so many that other agents' names wait for its own (P7).
    `hosts` pins names to addresses, as `/etc/hosts` would; they are vetted like any other answer.
    """

    def __init__(self, *, clock: Clock, timeout_s: float, hosts: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self._clock: Final = clock
        self._timeout_s: Final = timeout_s
        self._hosts: Final = {name: _parsed(addresses) for name, addresses in (hosts or {}).items()}
        self._known: Final[dict[str, tuple[float, tuple[Address, ...]]]] = {}
        self._first: Final = Askers(_addresses, threads=THREADS, each=EACH, name="names")
        self._again: Final = Askers(_addresses, threads=THREADS, each=EACH, name="names-again")

    async def resolve(self, host: str, agent: str) -> tuple[Address, ...]:
        """Every address of `host`, in the system's order of preference; asked for `agent`.

        Raises:
            Refused: `upstream_unreachable`, no answer, too late an answer, or more than `MAX_ADDRESSES`.
        """
        literal = _literal(host)
        if literal is not None:
            return (literal,)
        if host in self._hosts:
            return self._hosts[host]
        now_s = self._clock.monotonic_s()
        known = self._known.get(host)
        if known is None or known[0] < now_s:
            addresses, now_s = await self._ask(host, agent), self._clock.monotonic_s()
            while len(self._known) >= MAX_ENTRIES:
                del self._known[next(iter(self._known))]
            known = (now_s + (KEEP_S if addresses else KEEP_FAILURE_S), addresses)
            self._known[host] = known
        if not 0 < len(known[1]) <= MAX_ADDRESSES:
            raise Refused(Denial("upstream_unreachable", "The provider's name could not be resolved.", by="egress"))
        return known[1]

    async def _ask(self, host: str, agent: str) -> tuple[Address, ...]:
        # The dot makes the name absolute: no search domain is ever appended. A single label lives in /etc/hosts only.
        name = f"{host}." if "." in host else host
        try:
            async with asyncio.timeout(self._timeout_s):
                return _parsed(await self._first_answer(name, agent))
        except (OSError, TimeoutError, UnicodeError):
            return ()

    async def _first_answer(self, name: str, agent: str) -> tuple[str, ...]:
        asked: list[asyncio.Future[tuple[str, ...] | None]] = []
        try:
            while len(asked) < QUESTIONS:
                askers = self._again if asked else self._first
                asked.append(asyncio.wrap_future(askers.ask(name, agent)))
                known = await _known(asked, AGAIN_S if len(asked) < QUESTIONS else None)
                if known is not None:
                    return known
            return ()
        finally:
            for question in asked:
                if not question.cancel():
                    question.exception()  # looked at, so that the loop does not complain of the ones that came later


async def _known(asked: list[asyncio.Future[tuple[str, ...] | None]], wait_s: float | None) -> tuple[str, ...] | None:
    """The first answer to one of these questions; None if there is none after `wait_s`, or ever."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            for question in asyncio.as_completed(asked):
                if (answer := await question) is not None:
                    return answer
            await asyncio.sleep(wait_s or 0)
    return None


def _addresses(name: str) -> tuple[str, ...] | None:
    """None: no server answers for now; that a name does not exist is an error, and final."""
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            return None
        raise
    return tuple(dict.fromkeys(str(answer[4][0]) for answer in answers))


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _parsed(addresses: tuple[str, ...]) -> tuple[Address, ...]:
    return tuple(ipaddress.ip_address(address) for address in addresses)
