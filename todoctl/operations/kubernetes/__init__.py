"""A platform in a Kubernetes cluster."""
