"""Silence is a fault only where the meeting is not silent."""

from typing import Final

import pytest

from worker.capture.silence import SILENT_AFTER_S, SILENT_LEVEL, SilenceDetector

END: Final = 100 + SILENT_AFTER_S


@pytest.mark.parametrize(
    ("looks", "failed"),
    [
        ([(100, 0.0, None), (END, 0.0, None)], False),
        ([(100, 0.0, 99), (END, 0.0, 99)], False),
        ([(100, 0.0, 100), (END, 0.0, 100 + SILENT_AFTER_S / 2 - 0.1)], False),
        ([(100, 0.0, 100), (END, 0.0, 100 + SILENT_AFTER_S / 2)], True),
        ([(100, 0.0, 100), (END - 0.1, 0.0, END)], False),
        ([(100, 0.0, 100), (104, SILENT_LEVEL, 104), (END, 0.0, END)], False),
        ([(100, 0.1, 100), (END, 0.1, END)], False),
    ],
)
def test_it_is_told_when_a_voice_was_received_and_nothing_recorded(
    looks: list[tuple[float, float, float | None]], failed: bool
) -> None:
    detector = SilenceDetector(0.0)
    assert [detector.is_wrongly_silent(*look) for look in looks][-1] is failed


def test_whoever_begins_anew_is_given_time() -> None:
    detector = SilenceDetector(0.0)
    assert not detector.is_wrongly_silent(100, 0.0, 100)
    detector.reset()
    assert not detector.is_wrongly_silent(END, 0.0, END)


def test_the_first_sound_that_was_silent_was_so_from_its_beginning() -> None:
    detector = SilenceDetector(1.0)
    assert not detector.is_wrongly_silent(101, 0.0, END)
    assert detector.silent_since == 100
    assert detector.is_wrongly_silent(END, 0.0, END)


def test_silence_that_is_looked_at_late_is_told_from_the_sound_before_it() -> None:
    detector = SilenceDetector(1.0)
    assert not detector.is_wrongly_silent(100, SILENT_LEVEL, 100)
    assert not detector.is_wrongly_silent(104, 0.0, 104)
    assert detector.silent_since == 99
    detector.reset()
    assert not detector.is_wrongly_silent(105, 0.0, 105)
    assert detector.silent_since == 104, "what was heard before it began anew tells nothing"
