"""`websockets`, told nothing but its environment: three messages over one socket."""

import asyncio
import os
import sys

from websockets.asyncio.client import connect


async def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['EXAMPLE_API_KEY']}"}
    async with connect(sys.argv[1], additional_headers=headers, open_timeout=20) as socket:
        for message in ("hello", "again", b"bytes"):
            await socket.send(message)
            answer = await socket.recv()
            print(answer if isinstance(answer, str) else f"binary {answer.decode()}")


asyncio.run(main())
