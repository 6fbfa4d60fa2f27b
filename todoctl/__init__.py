"""todoctl: one command-line program for the whole life of an event-driven Todo platform."""

__version__ = "0.1.0"
