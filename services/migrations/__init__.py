"""The database's schema, one revision per file in versions/; `python -m services.migrations upgrade`.

A revision that takes something away says `phase = "contract"`, and with `lives_with = "REVISION"` the oldest revision that a
release may need and still work after it; without that, no earlier release does. All others only add.
"""

# The oldest revision that the services of this code can work on; their newest is what they need to do all that they do.
OLDEST_REVISION = "0003"
