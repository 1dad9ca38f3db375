"""The challenges of WWW-Authenticate and the parameters of Authentication-Info (RFC 9110, section 11). Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.model import ResponseHead

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  # of HTTP
_PARAMETER: Final = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|{_TOKEN})')
_SCHEME: Final = re.compile(rf"({_TOKEN})(?:[ \t]+(?:[0-9A-Za-z._~+/-]+=*(?=[ \t]*(?:,|$)))?|(?=,|$))")
MAX_CHALLENGES: Final = 16
MAX_PARAMETERS: Final = 32
MAX_BYTES: Final = 16 * 1024


def challenges(response: ResponseHead, scheme: str) -> tuple[Mapping[str, str], ...]:
    """The parameters of every challenge of `scheme` (lower-case), unquoted, names in lower case; no name stands twice.

    What cannot be read ends the field it stands in.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for name, value in response.headers:
        if name == "www-authenticate":
            found += _read(value[:MAX_BYTES])
    return tuple(parameters for named, parameters in found[:MAX_CHALLENGES] if named == scheme)


def parameters(value: str) -> Mapping[str, str]:
    """Of a field that is a list of parameters alone, such as Authentication-Info."""
    return next(iter(_read(f"x {value[:MAX_BYTES]}")), ("", {}))[1]


def quoted(value: str) -> str:
    """As a quoted-string."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _read(value: str) -> list[tuple[str, dict[str, str]]]:
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while at < len(value):
        if value[at] in ", \t":
            at += 1
        elif (parameter := _PARAMETER.match(value, at)) is not None and found:
            name, at = parameter[1].lower(), parameter.end()
            if name in found[-1][1] or len(found[-1][1]) >= MAX_PARAMETERS:
                return found[:-1]
            found[-1][1][name] = _unquoted(parameter[2])
        elif parameter is None and (scheme := _SCHEME.match(value, at)) is not None:
            found.append((scheme[1].lower(), {}))
            at = scheme.end()
        else:
            break
    return found


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
