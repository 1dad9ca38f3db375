"""P5: a page in the developer's browser, at the listener of an agent."""

from __future__ import annotations

import httpx
import pytest

from tests.rig import running_rig

LISTENERS = {
    "proxy": "127.0.0.1:0",
    "control": "127.0.0.1:0",
    "more": [{"at": "127.0.0.1:0", "kind": "base_url", "agent": "tester"}],
}


@pytest.mark.parametrize(
    ("referer", "status"),
    [
        ("http://evil.test/", 407),
        ("http://127.0.0.1@evil.test/", 407),
        ("http://127.0.0.1.evil.test:80/", 407),
        ("nonsense", 407),
        ("http://127.0.0.1:8090/example/x", 200),  # Go's client names itself when it follows a redirect
    ],
)
async def test_p5_an_image_in_a_page_cannot_use_the_listener_of_an_agent(tmp_path, referer, status):
    """Safari sends neither Origin nor Sec-Fetch-Site with a simple GET to loopback."""
    settings = {"listeners": LISTENERS, "agents": {"tester": {"accounts": ["*"]}}}
    async with running_rig(tmp_path, settings=settings) as rig:
        async with httpx.AsyncClient(base_url=f"http://{rig.sidecar.endpoints[1]}", trust_env=False) as http:
            answer = await http.get("/example/x", headers={"referer": referer})
        assert answer.status_code == status
        assert len(rig.provider.requests) == (status == 200)
