"""Alembic migrations; package data of the wheel."""
