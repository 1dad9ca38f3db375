"""What may come back: heads are planned, bodies decoded and scanned, headers and trailers scrubbed (P1).

Pure code. How it finds things, what it costs and what it cannot see: `docs/scrubbing.md`.
"""

from __future__ import annotations

from proxy.firewall.codings import accept_encoding
from proxy.firewall.envelopes import COMPRESSED_MESSAGES
from proxy.firewall.headers import scrub_headers
from proxy.firewall.packed import packed, unpacked
from proxy.firewall.plan import BODYLESS, Planned, plan
from proxy.firewall.redaction import redacted
from proxy.firewall.scanner import Scanner, open_scanner, scrub
from proxy.firewall.vocabulary import Needle, Vocabulary
from proxy.firewall.whole import decoded, headers_of_whole
from proxy.firewall.withheld import WithheldError

__all__ = [
    "BODYLESS",
    "COMPRESSED_MESSAGES",
    "Needle",
    "Planned",
    "Scanner",
    "Vocabulary",
    "WithheldError",
    "accept_encoding",
    "decoded",
    "headers_of_whole",
    "open_scanner",
    "packed",
    "plan",
    "redacted",
    "scrub",
    "scrub_headers",
    "unpacked",
]
