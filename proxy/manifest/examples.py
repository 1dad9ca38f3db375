"""One call of an operation, as a command line: the profile's own example, else its template. Pure."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.catalog.schema import ExampleRequest, Operation, Profile

_STAND_IN: Final = re.compile(r"\{stand_in:([a-z0-9_-]{1,63})\}")
_VARIABLE: Final = re.compile(r"\x00(\w+)\x00")


def example_of(profile: Profile, operation: Operation, origin: str) -> str:
    """A `curl` command; stand-ins are named by the variable that holds them."""
    for example in profile.examples:
        expect = example.expect
        if expect.operation == operation.id and expect.denied is None:
            return _command(example.request, profile)
    method = operation.methods[0]
    words = ["curl", *([] if method == "GET" else ["-X", method]), shlex.quote(f"{origin}{operation.path}")]
    return " ".join(words)


def _command(request: ExampleRequest, profile: Profile) -> str:
    words = ["curl", *([] if request.method == "GET" else ["-X", request.method]), request.url]
    for name, value in request.headers.items():
        words += ["-H", f"{name}: {value}"]
    if request.body is not None:
        words += ["-d", request.body]

    def marked(found: re.Match[str]) -> str:
        slot = profile.secrets.get(found[1])
        return f"\0{slot.env[0] if slot is not None and slot.env else found[1].upper()}\0"

    return " ".join(_quoted(_STAND_IN.sub(marked, word)) for word in words)


def _quoted(word: str) -> str:
    """As a shell reads it: what is between NUL characters is the name of a variable."""
    return _VARIABLE.sub(r"""'"$\1"'""", shlex.quote(word))
