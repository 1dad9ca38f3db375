"""The way out: address guard, resolver, dialler."""
