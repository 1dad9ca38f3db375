"""`aiohttp` with `trust_env`, told nothing but its environment."""

import asyncio
import json
import os
import sys

import aiohttp


async def main() -> None:
    async with aiohttp.ClientSession(trust_env=True) as session:
        for number in range(2):
            async with session.post(
                f"{sys.argv[1]}/v1/things/{number}",
                headers={"Authorization": f"Bearer {os.environ['EXAMPLE_API_KEY']}"},
                data=b"from aiohttp",
            ) as answer:
                print(answer.status, json.dumps(await answer.json()))


asyncio.run(main())
