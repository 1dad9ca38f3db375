"""Print `proxy/engine/proved.py` for the installed mitmproxy. Write it, then run `pytest tests/engine`."""

from __future__ import annotations

from mitmproxy import version

from proxy.engine.pins import fingerprints

print(f"# mitmproxy {version.VERSION}")
for name, digest in fingerprints().items():
    print(f'    "{name}": "{digest}",')
