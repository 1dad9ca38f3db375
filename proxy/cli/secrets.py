"""`briefcased secrets`: the encrypted store. Values come from a prompt or standard input and are never printed."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from proxy.cli.captured import app as captured
from proxy.cli.state import local_passphrase
from proxy.errors import BriefcaseError
from proxy.secretstore import MIN_SECRET_BYTES
from proxy.secretstore.local import NAME, LocalStore
from proxy.settings import home

app = typer.Typer(help="The encrypted store behind local: secret refs.", no_args_is_help=True)
app.add_typer(captured, name="captured")
KeySource = Annotated[
    str, typer.Option("--key", help="Where the store's key rests, when the store is made: file, passphrase or keyring.")
]


def _store() -> LocalStore:
    return LocalStore(home(), local_passphrase())


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="As in local:NAME, for example github/token.")],
    key: KeySource = "file",
) -> None:
    """Store one value; it is read from a prompt, or from standard input."""
    if not NAME.fullmatch(name):
        raise BriefcaseError("a name is lower-case letters, digits and ._/-")
    typed = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read()
    value = typed.rstrip("\r\n").encode()
    if len(value) < MIN_SECRET_BYTES:
        raise BriefcaseError(
            f"the value is shorter than {MIN_SECRET_BYTES} bytes; answers could not be searched for it"
        )
    _store().put({name: value}, key_source=key)
    sys.stdout.write(f"stored; refer to it as local:{name}\n")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Lines of NAME=VALUE, as in a .env file; - is standard input.")],
    key: KeySource = "file",
) -> None:
    """Store many values at once: GITHUB_TOKEN=… becomes local:github_token."""
    values: dict[str, bytes] = {}
    for number, line in enumerate(_lines(file), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, mark, value = line.removeprefix("export ").partition("=")
        name, value = name.strip().lower(), _unquoted(value.strip())
        if not mark or not NAME.fullmatch(name):
            raise BriefcaseError(f"{file}:{number}: a line is NAME=VALUE")
        if len(value.encode()) < MIN_SECRET_BYTES:
            raise BriefcaseError(f"{file}:{number}: the value is shorter than {MIN_SECRET_BYTES} bytes")
        values[name] = value.encode()
    _store().put(values, key_source=key)
    sys.stdout.write(f"stored {len(values)}: {', '.join(sorted(values))}\n")


def _unquoted(value: str) -> str:
    """Without the pair of quotes around it; a quote alone belongs to the value."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def _lines(file: Path) -> list[str]:
    try:
        return (sys.stdin.read() if str(file) == "-" else file.read_text()).splitlines()
    except OSError as error:
        raise BriefcaseError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BriefcaseError(f"{file}: not a text file") from None


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False) -> None:
    """List the names; values are never shown."""
    names = _store().names()
    sys.stdout.write(orjson.dumps(names).decode() + "\n" if as_json else "".join(f"{name}\n" for name in names))


@app.command("rm")
def remove(name: Annotated[str, typer.Argument(help="The name.")]) -> None:
    """Remove one value."""
    if not _store().remove(name):
        raise BriefcaseError(f"no secret is named {name}")
    sys.stdout.write(f"removed {name}\n")
