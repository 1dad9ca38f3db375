"""The mitmproxy lane: mitmproxy as a library, driving `Exchange`s. What its seams are and why: `docs/engine.md`."""
