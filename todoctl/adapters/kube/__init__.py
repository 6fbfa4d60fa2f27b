"""Kubernetes: which cluster a context means, its REST API, and streams into its pods."""
