"""A mail server for development: takes every mail on this machine and keeps it as a file."""
