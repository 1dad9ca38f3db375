"""Print `proxy/engine/proved.py` for the installed mitmproxy. Write it, then run `pytest tests/engine`."""

from __future__ import annotations

from mitmproxy import version

from proxy.engine.pins import fingerprints

HEAD = '''"""Fingerprints of mitmproxy's seams; the contract tests in `tests/engine/` have passed with them ({version}).

Printed by `scripts/prove_engine.py`. docs/engine.md says how to move to another version.
"""

from __future__ import annotations

from typing import Final

PROVED: Final = {{
'''
print(HEAD.format(version=version.VERSION), end="")
for name, digest in fingerprints().items():
    print(f'    "{name}": "{digest}",')
print("}")
