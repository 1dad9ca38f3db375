"""Ask an upstream proxy for a connection: HTTP CONNECT (RFC 9110, 9.3.6) and SOCKS 5 (RFC 1928, RFC 1929).

Both read exactly their answer, of bounded length and strict grammar: what follows belongs to the tunnel. The caller
sets the clock. No failure repeats what the proxy said.
"""

from __future__ import annotations

import asyncio
import base64
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from proxy.model import Authority
    from proxy.secret import Secret

MAX_ANSWER_BYTES: Final = 16 * 1024
STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
FIELD_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
AUTH_REQUIRED: Final = frozenset({401, 407})
"""401 is tinyproxy's word for a wrong password."""
TIMED_OUT: Final = frozenset({408, 504})

VERSION: Final = 5
NO_AUTHENTICATION, USERNAME_PASSWORD, NONE_ACCEPTABLE = 0x00, 0x02, 0xFF
CONNECT: Final = 1
IPV4, DOMAIN, IPV6 = 1, 3, 4
SUCCEEDED: Final = 0
REPLIES: Final = {
    1: "upstream_unreachable",  # general failure
    2: "upstream_proxy_refused",  # not allowed by ruleset
    3: "upstream_unreachable",  # network unreachable
    4: "upstream_unreachable",  # host unreachable
    5: "upstream_unreachable",  # connection refused
    6: "upstream_timeout",  # TTL expired
    7: "upstream_proxy_refused",  # command not supported
    8: "upstream_proxy_refused",  # address type not supported
}
MAX_FIELD_BYTES: Final = 255
_DETAIL: Final = {
    "upstream_proxy_auth": "The upstream proxy does not accept the sidecar's credentials.",
    "upstream_proxy_refused": "The upstream proxy does not allow this destination.",
    "upstream_proxy_unavailable": "The upstream proxy did not answer as one.",
    "upstream_timeout": "The upstream proxy did not reach the provider in time.",
    "upstream_unreachable": "The upstream proxy could not reach the provider.",
}


@dataclass(frozen=True, slots=True)
class Login:
    """What the proxy wants to see."""

    username: Secret
    password: Secret | None

    def fits(self) -> bool:
        """Whether both methods can carry it: 1 to 255 bytes each, no colon in the name (RFC 1929; RFC 7617, 2)."""
        name, word = self.username.reveal(), self._password()
        return 0 < len(name) <= MAX_FIELD_BYTES and len(word) <= MAX_FIELD_BYTES and b":" not in name

    def basic(self) -> bytes:
        """The value of `Proxy-Authorization`."""
        return b"Basic " + base64.b64encode(self.username.reveal() + b":" + self._password())

    def subnegotiation(self) -> bytes:
        """RFC 1929, section 2."""
        name, word = self.username.reveal(), self._password()
        return b"\x01" + bytes([len(name)]) + name + bytes([len(word)]) + word

    def _password(self) -> bytes:
        return b"" if self.password is None else self.password.reveal()


async def http_connect(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Authority, login: Login | None
) -> None:
    """A tunnel to `target`. Afterwards the connection carries its bytes and nothing else.

    Raises:
        Refused: `upstream_proxy_auth`, `upstream_proxy_refused`, `upstream_proxy_unavailable`, or what the proxy says
            of the provider: `upstream_unreachable`, `upstream_timeout`.
        OSError: the connection failed.
    """
    place = str(target).encode("ascii")
    proof = b"" if login is None else b"Proxy-Authorization: " + login.basic() + b"\r\n"
    writer.write(b"CONNECT " + place + b" HTTP/1.1\r\nHost: " + place + b"\r\n" + proof + b"\r\n")
    await writer.drain()
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        fail("upstream_proxy_unavailable")
    status = status_of(head)
    if status is None:
        fail("upstream_proxy_unavailable")
    if 200 <= status < 300:  # noqa: PLR2004  # whatever lengths it names, no content follows (RFC 9110, 9.3.6)
        return
    if status in AUTH_REQUIRED:
        fail("upstream_proxy_auth")
    if status in TIMED_OUT:
        fail("upstream_timeout")
    fail("upstream_unreachable" if status >= 500 else "upstream_proxy_refused")  # noqa: PLR2004


def status_of(head: bytes) -> int | None:
    """The final status of an answer's head, its empty line included; None where it is not a well-formed one."""
    first, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    found = STATUS_LINE.fullmatch(first)
    if len(head) > MAX_ANSWER_BYTES or found is None or not all(map(FIELD_LINE.fullmatch, fields)):
        return None
    status = int(found[1])
    return status if status >= 200 else None  # noqa: PLR2004  # nobody asked for an interim answer


async def socks5_connect(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Authority, login: Login | None
) -> None:
    """A connection to `target`, whose name the proxy resolves (address type 3, always).

    Raises:
        Refused: see `http_connect`.
        OSError: the connection failed.
    """
    try:
        await _agree(reader, writer, login)
        name = target.host.encode("ascii")
        writer.write(
            bytes([VERSION, CONNECT, 0, DOMAIN, len(name)]) + name + struct.pack("!H", target.port)
        )  # at most 253 bytes: see parse_host
        await writer.drain()
        await _reply(reader)
    except asyncio.IncompleteReadError:
        fail("upstream_proxy_unavailable")


async def _agree(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, login: Login | None) -> None:
    methods = bytes([NO_AUTHENTICATION] if login is None else [NO_AUTHENTICATION, USERNAME_PASSWORD])
    writer.write(bytes([VERSION, len(methods)]) + methods)
    await writer.drain()
    version, method = await reader.readexactly(2)
    if version != VERSION:
        fail("upstream_proxy_unavailable")
    if method == NONE_ACCEPTABLE:
        fail("upstream_proxy_auth")
    if method not in methods:
        fail("upstream_proxy_unavailable")
    if method == USERNAME_PASSWORD and login is not None:
        writer.write(login.subnegotiation())
        await writer.drain()
        version, status = await reader.readexactly(2)
        if version != 1:
            fail("upstream_proxy_unavailable")
        if status != 0:
            fail("upstream_proxy_auth")


async def _reply(reader: asyncio.StreamReader) -> None:
    version, reply, reserved, kind = await reader.readexactly(4)
    if version != VERSION or reserved != 0:
        fail("upstream_proxy_unavailable")
    if reply != SUCCEEDED:
        fail(REPLIES.get(reply, "upstream_proxy_unavailable"))
    match kind:  # the address it is bound to, which nobody needs, and its port
        case _ if kind == IPV4:
            length = 4
        case _ if kind == IPV6:
            length = 16
        case _ if kind == DOMAIN:
            (length,) = await reader.readexactly(1)
        case _:
            fail("upstream_proxy_unavailable")
    await reader.readexactly(length + 2)


def fail(slug: str) -> NoReturn:
    """Raise the refusal of this slug."""
    raise Refused(Denial(slug, _DETAIL[slug], by="egress"))
