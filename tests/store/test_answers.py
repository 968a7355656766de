"""What Redis holds, read also where another release wrote it, or none has."""

import pytest

from poolmgr.store.answers import number


@pytest.mark.parametrize(("text", "found"), [("2", 2.0), ("0.5", 0.5), ("", 0.0), ("many", 0.0)])
def test_what_is_no_number_counts_as_none(text: str, found: float) -> None:
    assert number(text) == found
