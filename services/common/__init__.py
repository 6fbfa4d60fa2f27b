"""What every service shares: sidecar client, database, tokens, observability, event routes."""
