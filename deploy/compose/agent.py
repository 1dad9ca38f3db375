"""A sample agent in a container: the standard library's HTTP client, told nothing but its environment.

It checks what the topology promises and prints one line for each. Exit code 0: all four hold.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

URL = os.environ["SAMPLE_URL"]
STAND_IN = os.environ["SAMPLE_API_KEY"]
TIMEOUT_S = 5.0


def call(method: str, path: str) -> tuple[int, str]:
    """Status and body of one call with the key that the environment holds: a stand-in."""
    headers = {"Authorization": f"Bearer {STAND_IN}", "Content-Type": "text/plain"}
    request = urllib.request.Request(f"{URL}{path}", data=b"hello", headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def reachable(host: str, port: int) -> bool:
    """Whether a connection past the sidecar opens."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=TIMEOUT_S):
        return True
    return False


def main() -> int:
    """The exit code."""
    target = urlsplit(URL)
    places = [(target.hostname or "", target.port or 443)]
    for place in os.environ["UNREACHABLE"].split():
        host, _, port = place.rpartition(":")
        places.append((host, int(port)))
    status, body = call("POST", "/v1/echo")
    denied, refusal = call("DELETE", "/v1/keys/1")
    results = {
        "the provider accepts the call, so the sidecar put the real key on it": status == 200 and "hello" in body,
        "the provider's echo of the key comes back as the stand-in": STAND_IN in body,
        "an operation that the account may not use is refused": denied == 403 and "policy_denied" in refusal,
        "there is no way past the sidecar": not any(reachable(*place) for place in places),
    }
    for name, holds in results.items():
        print(f"{'ok    ' if holds else 'FAILED'} {name}", flush=True)
    if not results["the provider accepts the call, so the sidecar put the real key on it"]:
        print(status, body, file=sys.stderr)
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
