"""Verbs that join adapters or decide; they return or yield values and never print."""
