"""The environment that runs as processes on this machine: up, down, restart, and what is seen of it."""
