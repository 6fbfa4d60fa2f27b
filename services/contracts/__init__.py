"""What lies on the topics, for readers in any language: JSON Schemas of the events and the list of topics.

Everything here is generated (`python -m services.contracts`); docs/decisions/0003-event-schema-versions.md has the rules.
"""
