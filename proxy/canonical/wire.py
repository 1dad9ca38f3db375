"""A head of HTTP/1 as it stands on the wire, for everything that reads one."""

from __future__ import annotations

import re
from typing import Final

END_OF_HEAD: Final = b"\r\n\r\n"
HEAD: Final = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.[01]\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\x00]*\r\n)*)\r\n")
"""Method, target and header lines of a request. RFC 9112, sections 3 and 5: no bare CR or LF, no folded lines, no space
before the colon, no empty names."""
