"""The audit service: every event of every topic, append-only, in one hash chain per partition."""
