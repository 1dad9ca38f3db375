"""Capability tokens. See docs/credentials/capability.md."""
