"""The mitmproxy lane: mitmproxy as a library, driving `Exchange`s. What its seams are and why: `docs/engine.md`."""

from proxy.engine.lean import without_default_addons

without_default_addons()  # before any module of this package imports mitmproxy's master
