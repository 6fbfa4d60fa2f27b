"""The database's schema, one revision per file in versions/; `python -m services.migrations upgrade`."""
