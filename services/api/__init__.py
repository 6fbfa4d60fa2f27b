"""The task service: tasks, series and changes in PostgreSQL, and the outbox that turns each write into events."""
