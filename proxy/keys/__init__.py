"""Keys that sign: where they rest is one thing (a file, a token, a remote signer), how they are used another."""
