"""`briefcased connect`, `disconnect` and `accounts`: what people let agents use, and how that stands."""
