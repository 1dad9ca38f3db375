"""State: SQLAlchemy Core on SQLite, and its migrations."""
