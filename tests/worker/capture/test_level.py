"""Silence is a fault only where the meeting is not silent."""

from typing import Final

import pytest

from worker.capture.level import BELIEVED_S, SILENT_LEVEL, Watch

END: Final = 100 + BELIEVED_S


@pytest.mark.parametrize(
    ("looks", "failed"),
    [
        ([(100, 0.0, None), (END, 0.0, None)], False),
        ([(100, 0.0, 99), (END, 0.0, 99)], False),
        ([(100, 0.0, 100), (END, 0.0, 100 + BELIEVED_S / 2 - 0.1)], False),
        ([(100, 0.0, 100), (END, 0.0, 100 + BELIEVED_S / 2)], True),
        ([(100, 0.0, 100), (END - 0.1, 0.0, END)], False),
        ([(100, 0.0, 100), (104, SILENT_LEVEL, 104), (END, 0.0, END)], False),
        ([(100, 0.1, 100), (END, 0.1, END)], False),
    ],
)
def test_it_is_told_when_a_voice_was_received_and_nothing_recorded(
    looks: list[tuple[float, float, float | None]], failed: bool
) -> None:
    watch = Watch()
    assert [watch.look(*look) for look in looks][-1] is failed


def test_whoever_begins_anew_is_given_time() -> None:
    watch = Watch()
    assert not watch.look(100, 0.0, 100)
    watch.begin_anew()
    assert not watch.look(END, 0.0, END)
