"""Operators in a cluster: preflight, plan, install, prove, uninstall."""
