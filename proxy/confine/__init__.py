"""Confinement: agents have no way out but the sidecar."""
