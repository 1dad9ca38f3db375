"""WebSocket without I/O: frames to messages and back, compression, all bounded (RFC 6455, RFC 7692)."""
