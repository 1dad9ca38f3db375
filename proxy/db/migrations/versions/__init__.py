"""One file per migration, each reversible."""
