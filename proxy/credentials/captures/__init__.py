"""Fresh secrets in replies: which ones, how they are taken out, and where they rest. See docs/captured-secrets.md."""
