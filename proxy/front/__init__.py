"""The listener: first bytes under a strict, bounded grammar, agent authentication, lane choice."""
