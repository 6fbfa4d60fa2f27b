"""Every advisory lock of the database in one list: they share one number space, and two uses of a number would meet."""

from __future__ import annotations

from enum import IntEnum


class Lock(IntEnum):
    """The number of an advisory lock; the same in every release."""

    MIGRATIONS = 7_063_601
    RELAY = 7_063_602
    UPKEEP = 7_063_603
    SIGNING_KEYS = 7_063_604
