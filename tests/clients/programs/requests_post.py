"""`requests`, told nothing but its environment."""

import json
import os
import sys

import requests

with requests.Session() as session:
    for number in range(2):
        answer = session.post(
            f"{sys.argv[1]}/v1/things/{number}",
            headers={"Authorization": f"Bearer {os.environ['EXAMPLE_API_KEY']}"},
            data=b"from requests",
            timeout=20,
        )
        print(answer.status_code, json.dumps(answer.json()))
