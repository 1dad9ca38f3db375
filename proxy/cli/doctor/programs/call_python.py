"""One call with one Python library: `call_python.py LIBRARY URL`. Libraries are looked up by name when asked for."""

import asyncio
import importlib
import os
import sys
import urllib.request
from typing import Any
from urllib.parse import urlsplit, urlunsplit

KEY = os.environ.get("SAMPLE_API_KEY", "none")
HEADERS = {"Authorization": f"Bearer {KEY}"}


def library(name: str) -> Any:
    """A module that the reader of this file need not have."""
    return importlib.import_module(name)


def by_urllib(url: str) -> Any:
    """The standard library."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=HEADERS), timeout=15) as answer:  # noqa: S310
        return answer.read()


def by_requests(url: str) -> Any:
    """With its defaults."""
    return library("requests").get(url, headers=HEADERS, timeout=15).content


def by_httpx(url: str) -> Any:
    """With its defaults."""
    return library("httpx").get(url, headers=HEADERS, timeout=15).content


def by_aiohttp(url: str, **options: bool) -> Any:
    """With `options` for the session."""
    aiohttp = library("aiohttp")

    async def call() -> Any:
        async with aiohttp.ClientSession(**options) as session, session.get(url, headers=HEADERS) as answer:
            return await answer.read()

    return asyncio.run(call())


def by_aiohttp_trust_env(url: str) -> Any:
    """With the one option that makes it heed the environment."""
    return by_aiohttp(url, trust_env=True)


def by_urllib3(url: str) -> Any:
    """With its defaults."""
    return library("urllib3").PoolManager().request("GET", url, headers=HEADERS, retries=False).data


def by_urllib3_proxy(url: str) -> Any:
    """With the proxy written into the program, its password as a header."""
    urllib3 = library("urllib3")
    parts = urlsplit(os.environ["HTTPS_PROXY"])
    headers = urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password}")
    bare = urlunsplit(parts._replace(netloc=f"{parts.hostname}:{parts.port}"))
    pool = urllib3.ProxyManager(bare, proxy_headers=headers)
    return pool.request("GET", url, headers=HEADERS, retries=False).data


def by_boto3(url: str) -> Any:
    """S3, with keys that mean nothing."""
    client = library("boto3").client(
        "s3", endpoint_url=url.rstrip("/"), region_name="us-east-1",
        aws_access_key_id="AKIASAMPLE0000000000", aws_secret_access_key="sample",  # noqa: S106
        config=library("botocore.config").Config(retries={"max_attempts": 0}),
    )  # fmt: skip
    return str(client.list_buckets()).encode()


def by_openai(url: str) -> Any:
    """The SDK, towards another base."""
    client = library("openai").OpenAI(base_url=url, api_key=KEY, max_retries=0)
    return str(client.models.list()).encode()


def by_anthropic(url: str) -> Any:
    """The SDK, towards another base."""
    client = library("anthropic").Anthropic(base_url=url.rstrip("/"), api_key=KEY, max_retries=0)
    return str(client.models.list()).encode()


def by_websockets(url: str) -> Any:
    """A socket, one message each way."""
    websockets = library("websockets")

    async def talk() -> Any:
        target = url.replace("http", "ws", 1) + "socket"
        async with websockets.connect(target, additional_headers=HEADERS) as socket:
            await socket.send("hello")
            return (await socket.recv()).encode()

    return asyncio.run(talk())


if __name__ == "__main__":
    sys.stdout.write(globals()[f"by_{sys.argv[1]}"](sys.argv[2]).decode() + "\n")
