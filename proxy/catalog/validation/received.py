"""A request's body and query, read once and in one way. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.catalog.validation.forms import read_form
from proxy.catalog.validation.json_text import read_json
from proxy.catalog.validation.multipart import boundary_of, read_multipart
from proxy.catalog.validation.spec import BodySpec
from proxy.catalog.validation.unclear import UnclearError

if TYPE_CHECKING:
    from proxy.catalog.validation.json_text import Json
    from proxy.model import RequestHead

JSON: BodySpec = BodySpec()
"""What GraphQL and JSON-RPC are sent as."""


class Received:
    """What came. `body` is the whole body; b"" where there is none."""

    def __init__(self, head: RequestHead, body: bytes) -> None:
        self.head = head
        self.body = body
        self._read: dict[str, Json] = {}

    def content(self, spec: BodySpec = JSON) -> Json:
        """The body as `spec` says it is. Raises `UnclearError`."""
        if spec.format not in self._read:
            self._read[spec.format] = self._content(spec)
        return self._read[spec.format]

    def query(self) -> dict[str, Json]:
        """Parameters by name. Raises `UnclearError`."""
        return read_form(self.head.query or "")

    def headers(self) -> dict[str, Json]:
        """Fields by name; several lines of one name are one text with commas (RFC 9110, section 5.3)."""
        found: dict[str, Json] = {}
        for name, value in self.head.headers:
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found

    def _content(self, spec: BodySpec) -> Json:
        content_type = check_type(self.head, spec)
        match spec.format:
            case "json":
                return read_json(self.body)
            case "form":
                try:
                    return dict(read_form(self.body.decode("ascii")))
                except UnicodeDecodeError:
                    raise UnclearError("A form holds escaped UTF-8 only.") from None
            case "multipart":
                return dict(read_multipart(self.body, boundary_of(content_type)))


def check_type(head: RequestHead, spec: BodySpec) -> str:
    """The Content-Type of a body that may be what `spec` says (C-13, C-14).

    Raises:
        UnclearError: it is encoded, or of another type, or in another charset.
    """
    if any(name == "content-encoding" for name, _ in head.headers):
        raise UnclearError("This call must be read, so its body must not be encoded or compressed.")
    given = [value for name, value in head.headers if name == "content-type"]
    media_type, _, parameters = (given[0] if len(given) == 1 else "").partition(";")
    if not spec.takes(media_type.strip(" \t").lower()):
        raise UnclearError("The body is not of a content type that this operation takes.")
    plain = parameters.strip(" \t").lower().replace('"', "")
    if spec.format != "multipart" and plain not in ("", "charset=utf-8"):
        raise UnclearError("The body of this call is in UTF-8, and its content type has no other parameters.")
    return given[0]
