"""How much: limits, reservations that are never overshot, rates, meters that read what a call has used."""
