"""A Minikube on this machine: brought up with the platform in it, and taken down."""
