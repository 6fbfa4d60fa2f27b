"""The catalogue of planted faults fits the code as it is: `nox -s faults` plants them, which takes minutes."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import FAULTS, Fault
from tests.program import ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_its_place(fault: Fault) -> None:
    """Each piece of code that a fault takes out stands once in the file that is named."""
    text = (ROOT / fault.file).read_text()
    assert [old for old, _ in fault.edits if text.count(old) != 1] == []
