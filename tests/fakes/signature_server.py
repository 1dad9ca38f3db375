"""A server that verifies RFC 9421 signatures with code of its own: parses by hand, builds the base, asks cryptography."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.fakes.signed_api import reply

if TYPE_CHECKING:
    import asyncio

    from tests.rig.provider import Seen

INPUT = re.compile(r'([a-z][\w.*-]*)=\(([^)]*)\)((?:;[a-z]+=(?:"[^"]*"|\d+))*)')
ITEM = re.compile(r'"([^"]+)"((?:;[a-z]+(?:="[^"]*")?)*)')
SIGNATURE = re.compile(r"([a-z][\w.*-]*)=:([A-Za-z0-9+/=]*):")


def verify(key: object, signature: bytes, base: bytes) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, base)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        half = len(signature) // 2
        der = encode_dss_signature(*(int.from_bytes(part, "big") for part in (signature[:half], signature[half:])))
        key.verify(der, base, ec.ECDSA(hashes.SHA256() if half == 32 else hashes.SHA384()))
    else:
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(signature, base, padding.PSS(padding.MGF1(hashes.SHA512()), 64), hashes.SHA512())


def component(seen: Seen, name: str, parameters: str) -> str:
    path, mark, query = seen.target.partition("?")
    match name:
        case "@method":
            return seen.method
        case "@authority":
            return str(seen.one("host"))
        case "@target-uri":
            return f"https://{seen.one('host')}{seen.target}"
        case "@path":
            return path
        case "@query":
            return f"?{query}"
        case "@request-target":
            return seen.target
        case "@query-param":
            return dict(parse_qsl(query))[parameters.split('"')[1]]
    value = ", ".join(seen.all(name))
    if parameters.startswith(";key="):
        members = dict(member.split("=", 1) for member in value.split(", "))
        return members[parameters.split('"')[1]]
    return value


@dataclass
class SignatureServer:
    """Needs a fresh signature of `key` that covers at least `needs`; a nonce counts once."""

    key: object
    needs: tuple[str, ...] = ("@method",)
    tag: str | None = None
    directory: dict[str, object] = field(default_factory=dict)
    skew_s: float = 0
    seen_nonces: set[str] = field(default_factory=set)
    labels: list[list[str]] = field(default_factory=list)

    async def __call__(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        problem = self.problem(seen)
        reply(writer, "401 Unauthorized" if problem else "200 OK", problem or "welcome")

    def problem(self, seen: Seen) -> str | None:
        inputs = {found[1]: found for found in INPUT.finditer(", ".join(seen.all("signature-input")))}
        signatures = dict(SIGNATURE.findall(", ".join(seen.all("signature"))))
        self.labels.append(sorted(inputs))
        if set(inputs) != set(signatures):
            return "labels differ"
        found = inputs.get("sig1")
        if found is None:
            return "no sig1"
        parameters = dict(re.findall(r';([a-z]+)=(?:"?)([^";]*)', found[3]))
        items = ITEM.findall(found[2])
        base = "".join(f'"{name}"{options}: {component(seen, name, options)}\n' for name, options in items)
        base += f'"@signature-params": ({found[2]}){found[3]}'
        key = self.directory.get(parameters["keyid"], self.key)
        try:
            verify(key, base64.b64decode(signatures["sig1"]), base.encode())
        except InvalidSignature:
            return "wrong signature"
        return self.missing(seen, [name for name, _ in items], parameters)

    def missing(self, seen: Seen, names: list[str], parameters: dict[str, str]) -> str | None:
        now = time.time() + self.skew_s
        if not set(self.needs) <= set(names):
            return "covers too little"
        if not int(parameters["created"]) - 5 <= now <= int(parameters.get("expires", "99999999999")):
            return "not now"
        if parameters.get("nonce", "") in self.seen_nonces:
            return "replayed"
        self.seen_nonces.add(parameters.get("nonce", ""))
        if self.tag != parameters.get("tag"):
            return "wrong tag"
        if seen.body:
            wanted = f"sha-256=:{base64.b64encode(hashlib.sha256(seen.body).digest()).decode()}:"
            if "content-digest" not in names or seen.one("content-digest") != wanted:
                return "digest"
        return None
