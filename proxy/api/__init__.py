"""The control listener: health, readiness, metrics. Its own address, never reachable through the proxy."""
