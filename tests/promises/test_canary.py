"""P1: a run that provokes everything, then a search of all that an agent, a log or a file could show."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from urllib.parse import quote

import pytest

from proxy import logs
from tests.rig import running_rig
from tests.rig.sidecar import KEY, OTHER_KEY


def encodings(secret: str, *, cut: int = 4) -> set[bytes]:
    """Every form; of base64 only what does not depend on its neighbours, unless `cut` is 0."""
    raw = secret.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), quote(secret, safe="").encode()}
    for lead in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"x" * lead + raw)
            found.add(whole[cut : len(whole) - cut])
    found.add("".join(f"\\u{ord(c):04x}" for c in secret).encode())
    found.add("".join(f"%{ord(c):02X}" for c in secret).encode())
    return found


def found_in(data: bytes) -> list[bytes]:
    return [form for secret in (KEY, OTHER_KEY) for form in encodings(secret) if form in data]


@pytest.mark.parametrize("style", ["text", "json"])
async def test_p1_the_canaries_are_nowhere(tmp_path, capfd, style):
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure(level="DEBUG", style=style)
    agent_side: list[bytes] = []
    try:
        async with running_rig(tmp_path) as rig:
            other = f"https://other.example.test:{rig.provider.port}"
            rig.provider.answers(
                "/bad", b"HTTP/1.1 200 OK\r\nContent-Encoding: nonsense\r\nX: " + KEY.encode() + b"\r\n\r\n"
            )
            rig.provider.answers("/crash", b"HTTP/1.1 " + KEY.encode() + b"\r\n\r\n")
            echo = (
                f"HTTP/1.1 500 {KEY}\r\nWWW-Authenticate: Bearer realm={KEY}\r\nLocation: https://x/?k={quote(KEY)}\r\n"
            )
            body = " ".join(form.decode() for form in encodings(KEY, cut=0))
            rig.provider.answers("/all", f"{echo}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            for method, url in (
                ("GET", "/x"), ("POST", "/in-body"), ("GET", "/bad"), ("GET", "/crash"), ("GET", "/all"), ("GET", "//"),
                ("DELETE", "/x"), ("GET", f"{other}/all"), ("POST", f"{other}/x"), ("GET", "https://nowhere.test/"),
            ):  # fmt: skip
                for http2 in (False, True):
                    try:
                        answer = await rig.call(
                            method, url, http2=http2, json={"a": rig.stand_in()} if method == "POST" else None
                        )
                        agent_side += [answer.body, str(answer.headers.raw).encode()]
                    except Exception as error:
                        agent_side.append(repr(error).encode())
            agent_side.append(str(rig.env()).encode())
            agent_side.append(rig.bundle.read_bytes())
            await rig.settled(1)
    finally:
        root.handlers[:], root.level = before
    captured = capfd.readouterr()
    for data in (*agent_side, captured.out.encode(), captured.err.encode()):
        assert found_in(data) == []
    for path in Path(rig.home).rglob("*"):
        if path.is_file():
            assert found_in(path.read_bytes()) == [], path
    assert any(b"REAL" in seen.head for seen in rig.provider.requests)
