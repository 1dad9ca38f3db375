"""Confinement: the agent's only way out is the sidecar, and a check that it is. See docs/confinement-check.md."""
