"""Confinement: an agent has no way out but the sidecar. Linux namespaces, without root.

`namespace` makes them, `netlink` and `rules` redirect every connection to `forwarder`, and `stub` answers every name
with a synthetic address, so that the name that was asked for travels with the connection. `probe` tries every
known way around. See docs/confine.md.
"""
