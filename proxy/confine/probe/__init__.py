"""The confinement check: try every way out from where an agent is. See docs/confinement-check.md."""
