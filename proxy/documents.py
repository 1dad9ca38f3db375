"""Files that people write: strict YAML, every mistake at once, each with its line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from proxy.errors import ConfigError, Finding

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_NODES: Final = 100_000
MAX_REPEATED: Final = 5_000
"""Of these nodes, those that are only there because of aliases (I-07)."""
MAX_DEPTH: Final = 64
LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser, ten times as fast, where the wheel has it."""
_FORMS: Final = {
    "tag:yaml.org,2002:bool": re.compile(r"true|false"),
    "tag:yaml.org,2002:null": re.compile(r"null|~|"),
    "tag:yaml.org,2002:int": re.compile(r"-?(0|[1-9][0-9]*)"),
    "tag:yaml.org,2002:float": re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"),
}
type Place = tuple[str | int, ...]


class Strict(BaseModel):
    """Frozen, strict, unknown keys refused, input values never in error texts.

    What checks a model is built when it is first needed: most are only ever parts of others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, defer_build=True)


class Document:
    """One parsed file that remembers where everything stood."""

    def __init__(self, file: str, text: str) -> None:
        """Parse `text`. Raises `ConfigError` for what is not YAML, repeats a key, or uses aliases."""
        self.file: Final = file
        self.lines: Final[dict[Place, int]] = {}
        self._findings: Final[list[Finding]] = []
        self._nodes = self._repeated = 0
        self._seen: Final[set[int]] = set()
        self.data: Final = self._parse(text)

    def finding(self, place: Place, message: str) -> Finding:
        """A mistake at `place`, with the line of the nearest thing that the file really holds."""
        known = place
        while known and known not in self.lines:
            known = known[:-1]
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
        return Finding(self.file, self.lines.get(known, 1), path or "(file)", message)

    def validated[M: BaseModel](self, model: type[M]) -> M:
        """The file as `model`. Raises `ConfigError` with every mistake."""
        try:
            return model.model_validate_json(orjson.dumps(self.data))
        except ValidationError as errors:
            findings = [self.finding(self._place(error["loc"]), _message(error)) for error in errors.errors()]
            raise ConfigError(findings) from None
        except orjson.JSONEncodeError:
            raise ConfigError([self.finding((), "keys must be text and values plain")]) from None

    def _place(self, location: Place) -> Place:
        """pydantic's location without the names of union members, which the file does not hold."""
        place: Place = ()
        for index, step in enumerate(location):
            last = index == len(location) - 1
            if (*place, step) in self.lines or last:
                place = (*place, step)
        return place

    def _parse(self, text: str) -> object:
        try:
            self._bound(text)
            node = yaml.compose(text, Loader=LOADER)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
            raise ConfigError([Finding(self.file, line, "(file)", error.problem or "not YAML")]) from None
        except (yaml.YAMLError, RecursionError):
            raise ConfigError([Finding(self.file, 1, "(file)", "not YAML")]) from None
        if node is None:
            raise ConfigError([Finding(self.file, 1, "(file)", "the file is empty")])
        data = self._plain(node, (), set())
        if self._findings:
            raise ConfigError(self._findings)
        return data

    def _bound(self, text: str) -> None:
        """Refuse what is nested too deeply: libyaml's composer would end the process."""
        depth = 0
        for event in yaml.parse(text, Loader=LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    line = event.start_mark.line + 1 if event.start_mark is not None else 1
                    raise ConfigError([Finding(self.file, line, "(file)", "this is nested too deeply")])
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1

    def _plain(self, node: yaml.Node, place: Place, above: set[int]) -> Any:
        self.lines.setdefault(place, node.start_mark.line + 1)
        self._nodes += 1
        self._repeated += id(node) in self._seen
        self._seen.add(id(node))
        if id(node) in above or self._nodes > MAX_NODES or self._repeated > MAX_REPEATED:
            raise ConfigError([self.finding(place, "aliases that grow without end are refused")])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, above | {id(node)})
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*place, i), above | {id(node)}) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and not _is_plain(node):
            self._findings.append(
                self.finding(place, "YAML versions read this differently: quote it, or write it as JSON")
            )
            return None
        try:
            return yaml.constructor.SafeConstructor().construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):  # a tag that is not YAML's own, the 31st of June, …
            self._findings.append(self.finding(place, "this value cannot be read as what it looks like"))
            return None

    def _mapping(self, node: yaml.MappingNode, place: Place, above: set[int]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or key == "<<":
                self._findings.append(self.finding(place, "keys must be plain text, merging is refused"))
                continue
            self.lines[(*place, key)] = key_node.start_mark.line + 1
            if key in found:
                self._findings.append(self.finding((*place, key), "this key stands twice"))
            found[key] = self._plain(value_node, (*place, key), above)
        return found


def _message(error: ErrorDetails) -> str:
    """What pydantic says, where that does not repeat what the file says (I-14)."""
    if error["type"] == "union_tag_invalid":
        return f"should be one of {error['ctx']['expected_tags']}"
    return error["msg"]


def _is_plain(node: yaml.ScalarNode) -> bool:
    """Whether what is a number, a truth value or nothing is written as JSON writes it (I-06).

    YAML 1.1 also takes `no` for false, `010` for 8, `1:30` for 90 and `.nan` for a number; 1.2 and people do not.
    """
    form = _FORMS.get(node.tag)
    return form is None or form.fullmatch(node.value) is not None


def read_document(path: Path) -> Document:
    """Read and parse `path`. Raises `ConfigError`, also when the file cannot be read or is too large."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise ConfigError([Finding(str(path), 1, "(file)", error.strerror or "cannot be read")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Finding(str(path), 1, "(file)", "the file is not UTF-8")]) from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError([Finding(str(path), 1, "(file)", "the file is larger than 1 MiB")])
    return Document(str(path), text)
