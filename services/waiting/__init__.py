"""Waits for what a pod needs before its sidecar starts."""
