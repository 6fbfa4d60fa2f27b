"""Processes of the local environment: the launcher each one starts through, supervisord, and their identities."""
