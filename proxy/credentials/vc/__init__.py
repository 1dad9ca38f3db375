"""Verifiable credentials, from the holder's side. See docs/credentials/vc.md."""
