"""Ask a person: states, fingerprints, cards, the service that waits for a decision."""
