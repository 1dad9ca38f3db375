"""What each route of the control API does; `proxy/api/routes.py` is their table."""
