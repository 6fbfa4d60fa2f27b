"""Kafka, one module per thing that is asked of it; the only importers of confluent_kafka.

client    the cluster, its administrator's client, and the one translator of errors
topics    topics and their settings
reach     whether a broker can be reached where it says that it is
census    which topics there are, asked again and again
groups    consumer groups, their members and committed offsets
records   records: reading them by offset or time up to a stop, and appending one
"""
