"""How commands reach the control API: by the unix socket of the sidecar that runs here, or by a URL with a token."""

from __future__ import annotations

import http.client
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, override
from urllib.parse import urlsplit

import orjson
import typer

from proxy.cli.approval_card import safe
from proxy.cli.session_file import kept
from proxy.cli.state import read_state
from proxy.errors import BriefcaseError
from proxy.settings import environment, home

if TYPE_CHECKING:
    from collections.abc import Iterator

URL: Final = "BRIEFCASED_API_URL"
TOKEN: Final = "BRIEFCASED_OPERATOR_TOKEN"  # noqa: S105  # a variable's name
TOKEN_FILE: Final = "BRIEFCASED_OPERATOR_TOKEN_FILE"  # noqa: S105
BASE: Final = "/api/v1"
TIMEOUT_S: Final = 15.0
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
UrlOption = Annotated[
    str | None, typer.Option("--url", help="Of the control API, in place of the socket of this machine.")
]
TokenFileOption = Annotated[Path | None, typer.Option("--token-file", help="A file with an operator's token.")]


class ApiError(BriefcaseError):
    """The API did not do it; `slug` says why."""

    def __init__(self, slug: str, text: str) -> None:
        super().__init__(text)
        self.slug: Final = slug


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path: Final = path

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class ApiClient:
    """`at` is unix:/PATH, http://HOST:PORT or https://HOST[:PORT]. Every call has a connection of its own."""

    at: str
    token: str | None

    @property
    def host(self) -> str:
        """What we call the API, in Host."""
        if self.at.startswith("unix:"):
            return "localhost"
        url = urlsplit(self.at)
        host, default = url.hostname or "", 443 if url.scheme == "https" else 80
        host = f"[{host}]" if ":" in host else host
        return host if url.port in (None, default) else f"{host}:{url.port}"

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer, from JSON. Raises `ApiError`; `BriefcaseError` where there is none."""
        with self._asked(method, path, body) as response:
            text = response.read(MAX_ANSWER_BYTES)
        return orjson.loads(text)

    def events(self, path: str, since: str | None) -> Iterator[tuple[str, Any]]:
        """The id and data of each event, until the stream ends."""
        with self._asked("GET", path, None, since=since) as response:
            id_ = ""
            while line := response.readline(MAX_ANSWER_BYTES):
                name, _, value = line.decode().rstrip("\r\n").partition(": ")
                if name == "id":
                    id_ = value
                elif name == "data":
                    yield id_, orjson.loads(value)

    @contextmanager
    def _asked(
        self, method: str, path: str, body: object, since: str | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        headers = {"Host": self.host} | ({} if self.token is None else {"Authorization": f"Bearer {self.token}"})
        if since is not None:
            headers["Last-Event-ID"] = since
        sent = None
        if body is not None:
            headers["Content-Type"], sent = "application/json", orjson.dumps(body)
        connection = self._connection()
        try:
            connection.request(method, BASE + path, body=sent, headers=headers)
            response = connection.getresponse()
            if response.status >= http.client.BAD_REQUEST:
                raise _refused(response)
            yield response
        except (OSError, http.client.HTTPException, orjson.JSONDecodeError) as error:
            text = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise BriefcaseError(f"the control API at {self.at} does not answer: {text}") from None
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.at.startswith("unix:"):
            return _SocketConnection(self.at.removeprefix("unix:"), TIMEOUT_S * 2)
        url = urlsplit(self.at)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        return kind(url.hostname or "", url.port, timeout=TIMEOUT_S * 2)


def _refused(response: http.client.HTTPResponse) -> ApiError:
    try:
        value = orjson.loads(response.read(64 * 1024))
        slug, title = str(value["type"]).rpartition(":")[2], str(value["title"])
        detail = f": {value['detail']}" if "detail" in value else ""
        places = ", ".join(f"{one['path']} ({one['message']})" for one in value.get("errors", ()))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ApiError("unknown", f"the control API answered {response.status}")
    return ApiError(slug, safe(f"{slug}: {title}{detail}{': ' + places if places else ''}"))


def in_path(word: str, what: str) -> str:
    """An id or a state as part of a path: nothing else is sent. Raises `ApiError`: there is no such `what`."""
    if not word.replace("_", "").replace("-", "").isalnum() or not word.isascii():
        raise ApiError("not_found", f"there is no such {what}")
    return word


def api_client(url: str | None, token_file: Path | None) -> ApiClient:
    """The client that the options, the environment, a login and the running sidecar give, in this order.

    Raises:
        BriefcaseError: there is no API to ask, or no token where one is needed.
    """
    variables = environment()
    at = api_at(url)
    token = _token(token_file or (Path(variables[TOKEN_FILE]) if TOKEN_FILE in variables else None))
    token = token or variables.get(TOKEN) or kept(at)
    if token is None and not at.startswith("unix:"):
        raise BriefcaseError(
            f"an operator's token is needed: briefcased operators login, --token-file, {TOKEN_FILE} or {TOKEN}"
        )
    return ApiClient(at, token)


def api_at(url: str | None) -> str:
    """Where the API is, by the option, the environment or the running sidecar. Raises `BriefcaseError`."""
    url = url or environment().get(URL)
    if url is None:
        admin = read_state(home()).admin
        if admin is None:
            raise BriefcaseError(f"this sidecar has no listeners.admin; name its API with --url or {URL}")
        return admin
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise BriefcaseError("the URL of the control API is http://HOST:PORT or https://HOST")
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise BriefcaseError("a token does not travel in the clear: use https")
    return url.rstrip("/").lower()


def _token(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise BriefcaseError(f"{file}: no token can be read") from None
