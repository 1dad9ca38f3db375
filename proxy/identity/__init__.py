"""Who is calling: agents and their tokens."""
