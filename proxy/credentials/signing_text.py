"""Templates of request signing: `{method}`, `{body_sha256:base64}`, `{header:Date}` and the like, as bytes. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import parse_qsl

from proxy.canonical import query_pairs
from proxy.credentials.kind import unusable
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from proxy.credentials.kind import Credential
    from proxy.model import RequestHead

PLACE: Final = re.compile(r"\{([a-z][a-z0-9_-]*)(?::([^{}]+))?\}")
"""`{name}` or `{name:argument}`; any other brace stands for itself."""
ENCODED: Final = frozenset({"body_md5", "body_sha1", "body_sha256", "body_sha384", "body_sha512", "signature"})
PLAIN: Final = frozenset(
    {"method", "scheme", "host", "path", "query", "query_sorted", "target", "url", "timestamp", "nonce", "body"}
    | {"form_sorted"}
)
NAMED: Final = frozenset({"header", "query_value"})
BUILT_IN: Final = ENCODED | PLAIN | NAMED
ENCODINGS: Final = frozenset({"hex", "base64", "base64url", "raw"})
MAX_FORM_FIELDS: Final = 1000
AS_BYTES: Final = "surrogateescape"
"""What is not UTF-8 comes out as it went in (PEP 383)."""

Encoding = Literal["hex", "base64", "base64url"]
Hash = Literal["sha1", "sha256", "sha384", "sha512"]


@dataclass(frozen=True, slots=True)
class Material:
    """What the placeholders of one request stand for.

    Attributes:
        timestamp: as the kind writes it.
        made: digests and, once it is there, the signature, by name; raw.
        encoding: of what was made, where a placeholder does not say.
    """

    credential: Credential = field(repr=False)
    head: RequestHead
    body: bytes = field(repr=False)
    timestamp: str
    nonce: str
    encoding: str = "hex"
    made: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def filled(self, template: str) -> bytes:
        """`template` with every placeholder replaced, in a single pass.

        Raises:
            Refused: the request has not got what the template names.
        """
        filled, end = b"", 0
        for found in PLACE.finditer(template):
            filled += template[end : found.start()].encode() + self._value(found[1], found[2])
            end = found.end()
        return filled + template[end:].encode()

    def having(self, name: str, raw: bytes) -> Material:
        """With something more that was made."""
        return replace(self, made={**self.made, name: raw})

    def _value(self, name: str, argument: str | None) -> bytes:
        if name in self.made:
            return encoded(self.made[name], argument or (self.encoding if name == "signature" else "hex"))
        if name.startswith("body_"):
            return encoded(hashlib.new(name.removeprefix("body_"), self.body).digest(), argument or "hex")
        if name == "header":
            wanted = str(argument).lower()
            return _only(value for key, value in self.head.headers if key == wanted).encode("latin-1")
        if name == "query_value":
            return _only(value for key, value in query_pairs(self.head.query) if key == argument).encode()
        if name in _READ:
            return _READ[name](self)
        return self.credential.text(name).encode("latin-1")


def _only(values: Iterable[str]) -> str:
    """The one value: of two, the provider might take the one that is not signed."""
    found = tuple(values)
    if len(found) != 1:
        detail = "A header or query parameter that is to be signed is missing, or stands twice."
        raise Refused(Denial("invalid_request", detail, by="credentials"))
    return found[0]


def host_of(head: RequestHead) -> str:
    """As `Host` and `:authority` say it: the port only where it is not the usual one (RFC 9110, section 7.2)."""
    usual = {"https": 443, "http": 80}[head.scheme]
    host = f"[{head.authority.host}]" if ":" in head.authority.host else head.authority.host
    return host if head.authority.port == usual else f"{host}:{head.authority.port}"


def target_of(head: RequestHead) -> str:
    """Path and query as they leave."""
    return head.path if head.query is None else f"{head.path}?{head.query}"


def encoded(raw: bytes, encoding: str) -> bytes:
    """`raw` in one of `ENCODINGS`; base64url is without padding."""
    match encoding:
        case "hex":
            return raw.hex().encode()
        case "base64":
            return base64.b64encode(raw)
        case "base64url":
            return base64.urlsafe_b64encode(raw).rstrip(b"=")
        case _:
            return raw


def form_pairs(body: bytes) -> list[tuple[str, str]]:
    """The decoded fields of a form, in order. Raises `Refused` where it is none."""
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS, errors=AS_BYTES)
    except (UnicodeDecodeError, ValueError):
        raise Refused(Denial("invalid_request", "The body is not a form.", by="credentials")) from None


def _form_sorted(material: Material) -> bytes:
    """Names and values of the form one after the other, sorted by name (as Twilio signs)."""
    pairs = sorted(set(form_pairs(material.body)))
    return "".join(name + value for name, value in pairs).encode(errors=AS_BYTES)


_READ: Final[Mapping[str, Callable[[Material], bytes]]] = {
    "method": lambda m: m.head.method.encode(),
    "scheme": lambda m: m.head.scheme.encode(),
    "host": lambda m: host_of(m.head).encode(),
    "path": lambda m: m.head.path.encode(),
    "query": lambda m: (m.head.query or "").encode(),
    "query_sorted": lambda m: "&".join(sorted((m.head.query or "").split("&"))).encode(),
    "target": lambda m: target_of(m.head).encode(),
    "url": lambda m: f"{m.head.scheme}://{host_of(m.head)}{target_of(m.head)}".encode(),
    "timestamp": lambda m: m.timestamp.encode(),
    "nonce": lambda m: m.nonce.encode(),
    "body": lambda m: m.body,
    "form_sorted": _form_sorted,
}


def names_in(*templates: str) -> frozenset[str]:
    """The names of all placeholders."""
    return frozenset(found[1] for template in templates for found in PLACE.finditer(template))


def mistake_in(template: str, made: frozenset[str]) -> str | None:
    """What is wrong with the arguments of a template's placeholders; `made` are names of digests."""
    for found in PLACE.finditer(template):
        name, argument = found[1], found[2]
        if name in ENCODED | made:
            if argument is not None and argument not in ENCODINGS:
                return f"{{{name}:…}} is written as hex, base64, base64url or raw"
        elif (argument is None) == (name in NAMED):
            return (
                f"{{{name}}} needs a name after a colon" if name in NAMED else f"{{{name}}} has nothing after a colon"
            )
    return None


def reads_body(names: frozenset[str]) -> bool:
    """Whether one of these placeholders needs the body."""
    return any(name in {"body", "form_sorted"} or (name.startswith("body_") and name in ENCODED) for name in names)


def key_bytes(credential: Credential, name: str, encoding: str) -> bytes:
    """The key in the secret `name`, which is written `raw`, in `base64` (either alphabet) or in `hex`.

    Raises:
        Refused: it is not written that way.
    """
    text = credential.text(name)
    try:
        match encoding:
            case "hex":
                return bytes.fromhex(text)
            case "base64":
                padded = text.replace("-", "+").replace("_", "/").rstrip("=")
                return base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
            case _:
                return text.encode("latin-1")
    except ValueError:
        raise Refused(unusable(f"The secret is not written in {encoding}.")) from None
