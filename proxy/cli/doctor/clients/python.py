"""Python libraries, under the `python3` that is on PATH, which is the agent's and not the sidecar's."""

from __future__ import annotations

from typing import Final

from proxy.cli.doctor.client import VARIABLES_ALONE, Client, Mode, Way

PYTHON: Final = "python3"
CALL: Final = "$programs/call_python.py"
VERSION: Final = "import importlib.metadata as m; print(m.version('{}'))"


def _library(name: str, package: str, how: str = "") -> Client:
    """A library with its defaults; `how` is the program's name for a call that is written for a proxy."""
    way = Way((PYTHON, CALL, how or package, "$url/"))
    modes = VARIABLES_ALONE if how else frozenset(Mode)
    return Client(name, PYTHON, (way,), (PYTHON, "-c", VERSION.format(package)), modes=modes)


CLIENTS: Final = (
    Client(
        "python urllib",
        PYTHON,
        (Way((PYTHON, CALL, "urllib", "$url/")),),
        (PYTHON, "-c", "import platform; print(platform.python_version())"),
    ),
    _library("python requests", "requests"),
    _library("python httpx", "httpx"),
    _library("python aiohttp", "aiohttp"),
    _library("python aiohttp (trust_env)", "aiohttp", "aiohttp_trust_env"),
    _library("python urllib3", "urllib3"),
    _library("python urllib3 (ProxyManager)", "urllib3", "urllib3_proxy"),
    _library("python boto3", "boto3"),
    _library("python openai", "openai"),
    _library("python anthropic", "anthropic"),
    _library("python websockets", "websockets"),
    Client(
        "pip",
        PYTHON,
        (
            Way(
                (
                    PYTHON,
                    "-m",
                    "pip",
                    "download",
                    "--no-deps",
                    "--retries=0",
                    "--no-cache-dir",
                    "--index-url=$url/simple/",
                    "briefcased-sample",
                )
            ),
        ),
        (PYTHON, "-m", "pip", "--version"),
        patience=2,
    ),
    Client(
        "uv",
        "uv",
        (
            Way(
                (
                    "uv",
                    "pip",
                    "install",
                    "--no-cache",
                    "--target=$folder/to",
                    "--index-url=$url/simple/",
                    "briefcased-sample",
                )
            ),
        ),
        ("uv", "--version"),
    ),
)
