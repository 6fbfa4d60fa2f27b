"""Whether a broker answers, and can be reached where it says that it is: a name is looked up, a plain connection made."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Mapping
from threading import Thread
from typing import Any

_SECONDS = 2.0  # for those that are asked first, and then for all others together

Address = tuple[str, int]


def is_silence(error: Any) -> bool:
    """Whether librdkafka's error means that nobody answered."""
    from confluent_kafka import KafkaError as Code

    return error.code() in {
        Code._TRANSPORT,  # noqa: SLF001 - the constants' names
        Code._RESOLVE,  # noqa: SLF001
        Code._TIMED_OUT,  # noqa: SLF001
        Code._MSG_TIMED_OUT,  # noqa: SLF001
        Code._TIMED_OUT_QUEUE,  # noqa: SLF001
        Code._ALL_BROKERS_DOWN,  # noqa: SLF001
        Code.REQUEST_TIMED_OUT,
        Code.COORDINATOR_NOT_AVAILABLE,
    }


def advertised(settings: Mapping[str, str]) -> dict[str, Address]:
    """Broker → where it says that it is, as those say that are asked first; nobody where they don't answer.

    By a client of its own: one that knows brokers may ask them, and not those that are asked first.
    """
    from confluent_kafka import Consumer, KafkaException

    try:
        asked = Consumer({**settings, "group.id": "todoctl"})
    except KafkaException:
        return {}
    try:
        brokers = asked.list_topics(timeout=_SECONDS).brokers.values()
    except KafkaException:
        return {}
    finally:
        asked.close()
    return {f"broker {one.id}": (one.host, one.port) for one in brokers}


def unreachable(addresses: Mapping[str, Address]) -> list[str]:
    """A line for each of the named addresses to which no connection is had, with the reason; all are tried at once."""
    found: dict[str, str] = {}
    # The system's look-up of a name can't be ended, and must not keep the process: so threads that nobody waits for.
    tries = [Thread(target=_try, args=(name, at, found), daemon=True) for name, at in addresses.items()]
    for one in tries:
        one.start()
    deadline = time.monotonic() + _SECONDS
    for one in tries:
        one.join(max(0.0, deadline - time.monotonic()))
    reasons = {name: found.get(name, f"no answer in {_SECONDS:.0f} s") for name in addresses}
    return [
        f"{name}, which advertises {_written(addresses[name])}, can't be reached: {why}"
        for name, why in reasons.items()
        if why
    ]


def _try(name: str, address: Address, found: dict[str, str]) -> None:
    try:
        socket.create_connection(address, timeout=_SECONDS).close()
    except socket.gaierror:
        found[name] = "this machine does not know the name"
    except TimeoutError:
        found[name] = f"no answer in {_SECONDS:.0f} s"
    except (OSError, UnicodeError, OverflowError) as error:
        is_refused = isinstance(error, OSError) and error.errno == errno.ECONNREFUSED
        found[name] = "the connection is refused" if is_refused else str(error)
    else:
        found[name] = ""


def _written(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
