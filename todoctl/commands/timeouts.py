"""How long commands wait: the options that several of them have."""

from __future__ import annotations

from typing import Annotated

import typer

# A day: whoever asks for more means something else, and infinity never ends.
LONGEST = 86_400

OF_ONE_PART = Annotated[
    float, typer.Option(metavar="SECONDS", min=1, max=LONGEST, help="How long one part may take to be ready.")
]
OF_ALL = Annotated[float, typer.Option(metavar="SECONDS", min=1, max=LONGEST, help="How long all of it may take.")]
