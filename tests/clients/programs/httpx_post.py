"""`httpx`, told nothing but its environment; over HTTP/2 where the argument says so."""

import json
import os
import sys

import httpx

with httpx.Client(http2=sys.argv[2] == "h2", timeout=20) as client:
    for number in range(2):
        answer = client.post(
            f"{sys.argv[1]}/v1/things/{number}",
            headers={"Authorization": f"Bearer {os.environ['EXAMPLE_API_KEY']}"},
            content=b"from httpx",
        )
        print(answer.status_code, json.dumps(answer.json()))
    print(answer.http_version)
