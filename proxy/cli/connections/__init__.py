"""What `briefcased connect`, `disconnect` and `accounts` share."""
