"""What may be called: profiles, their checks, the matcher, the accounts bound to them."""
