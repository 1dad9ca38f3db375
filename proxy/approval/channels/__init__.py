"""Ways to tell approvers: one file per kind of channel, a durable outbox, and the courier that empties it."""
