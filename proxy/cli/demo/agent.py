"""The agent of the demonstration: the standard library's HTTP client, told nothing but its environment.

It runs as a process of its own and prints what it sent and what it got, one JSON object per line.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request


def call(method: str, url: str, body: str | None = None) -> dict[str, object]:
    """One call with the key that the environment holds."""
    headers = {"Authorization": f"Bearer {os.environ['SAMPLE_API_KEY']}", "Content-Type": "text/plain"}
    data = body.encode() if body is not None else None
    request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310  # https only
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            status, answered, text = answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as refused:
        status, answered, text = refused.code, dict(refused.headers), refused.read().decode()
    return {"sent": {"line": f"{method} {url}", "headers": headers, "body": body}, "status": status,
            "headers": answered, "body": text}  # fmt: skip


def stream(url: str) -> dict[str, object]:
    """Read events; says when each came, in seconds since the epoch."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {os.environ['SAMPLE_API_KEY']}"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        came = [time.time() for line in answer if line.startswith(b"data:")]
    return {"came": came}


def main(base: str) -> None:
    """Three things an agent does: a call, a stream, and a call that it may not make."""
    for result in (
        call("POST", f"{base}/v1/echo", "hello"),
        stream(f"{base}/v1/stream"),
        call("DELETE", f"{base}/v1/keys/1"),
    ):
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
