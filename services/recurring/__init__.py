"""The recurring service: a completed recurring task gets its next occurrence."""
