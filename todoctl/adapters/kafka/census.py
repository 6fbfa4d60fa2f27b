"""Asking again and again which topics there are, without waiting for the answers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from todoctl.adapters.kafka.client import SECONDS, Broker, administrator
from todoctl.adapters.kafka.topics import topic_id

_EVERY = 3.0  # seconds between two questions


class Census:
    """What the cluster says of some topics: each one's id, and how many partitions it has."""

    def __init__(self, broker: Broker, names: Sequence[str]) -> None:
        self._broker, self._names = broker, names
        self._asked: dict[str, Any] = {}
        self._due = time.monotonic() + _EVERY

    def news(self) -> dict[str, tuple[str, int]]:
        """What was answered since the last call, if anything: topic → its id and how many partitions it has.

        A topic that is gone, or of which nobody answers, is left out: who reads it hears that from its leader.
        """
        from confluent_kafka import KafkaException, TopicCollection

        if not self._asked and time.monotonic() >= self._due:
            admin = administrator(self._broker)
            with contextlib.suppress(KafkaException):
                self._asked = admin.describe_topics(TopicCollection(list(self._names)), request_timeout=SECONDS)
            self._due = time.monotonic() + _EVERY
        if not self._asked or not all(future.done() for future in self._asked.values()):
            return {}
        asked, self._asked = self._asked, {}
        answers = {name: future.result() for name, future in asked.items() if future.exception() is None}
        return {name: (topic_id(found), len(found.partitions)) for name, found in answers.items()}
