"""What came an hour and a week ago is expected again, and the history does not grow without end."""

from hypothesis import given
from hypothesis import strategies as st

from poolmgr.scaling.history import BUCKET_S, MOST_BUCKETS, NOBODY, Expected, History

NOW = 1_795_165_200.0
HOUR, WEEK = 3600.0, 7 * 86400.0


def test_nothing_is_expected_of_an_empty_history() -> None:
    assert History().expected(NOW, 600) == NOBODY


def test_the_larger_of_an_hour_and_a_week_ago_is_expected() -> None:
    history = History()
    history.note(NOW - HOUR, 4)
    history.note(NOW - WEEK, 9)
    history.note(NOW - HOUR + BUCKET_S, 5)
    assert history.expected(NOW, BUCKET_S) == Expected(14, 9)
    assert history.expected(NOW, 0) == Expected(9, 9)


def test_who_has_come_already_is_not_expected_again() -> None:
    history = History()
    history.note(NOW - HOUR, 4)
    history.note(NOW, 3)
    assert history.expected(NOW + 10, 60) == Expected(1, 1)
    history.note(NOW, 3)
    assert history.expected(NOW + 10, 60) == NOBODY


def test_a_history_is_made_again_of_its_counts() -> None:
    history = History()
    history.note(NOW - WEEK, 9)
    assert History(history.counts).expected(NOW, 0) == Expected(9, 9)


def test_what_is_older_than_a_week_and_two_hours_is_forgotten() -> None:
    history = History()
    history.note(NOW, 9)
    history.note(NOW + BUCKET_S * (MOST_BUCKETS - 1))
    assert len(history.counts) == 2
    history.note(NOW + BUCKET_S * MOST_BUCKETS)
    assert 9 not in history.counts.values()


@given(st.lists(st.tuples(st.floats(0, 30 * 86400), st.integers(1, 5)), max_size=30))
def test_no_more_is_kept_than_is_asked_for(notes: list[tuple[float, int]]) -> None:
    history = History()
    for after_s, bots in notes:
        history.note(NOW + after_s, bots)
        newest = max(history.counts)
        assert newest - min(history.counts) < MOST_BUCKETS
    assert sum(history.counts.values()) <= sum(bots for _, bots in notes)
