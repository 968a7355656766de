"""Who comes and goes and what is said: each reported once. By the one entry point of the lifecycle, as it is used."""

from collections.abc import Iterable
from typing import Final

import msgspec
import pytest
from hypothesis import given

from common.wire.messages import BotNames, Participant
from common.wire.vocabulary import Reason
from tests.worker.decide.stories import LEAVE, LIMITS, LOBBY, PROMPT, UNKNOWN, Story, ends_for, live, stories
from worker.decide.lifecycle import worth_keeping
from worker.decide.participants import (
    LINES_REMEMBERED,
    MOST_BOTS,
    MOST_PEOPLE,
    PEOPLE_S,
    LookRequest,
    Names,
    ReportChat,
    ReportPeople,
    SeenLine,
    count_others,
    look_request,
)
from worker.decide.state import SessionOptions
from worker.decide.words import Action, Observation, Screen, Seen


def people(*ids: str, key: str | None = None) -> Seen:
    there = tuple(Participant(each, each.title()) for each in ids)
    return Seen(Screen.IN_MEETING, "meeting", len(ids) + 1, people=there, people_key=key or "-".join(ids))


def same(*ids: str) -> Seen:
    """The page shows whom it showed before, and need not say so again."""
    return Seen(Screen.IN_MEETING, "meeting", len(ids) + 1, people_key="-".join(ids))


def chat(*ids: str) -> Seen:
    return Seen(Screen.IN_MEETING, "meeting", 2, lines=tuple(SeenLine(each, "1", "Ann", each) for each in ids))


def comings_of(story: Story) -> list[str]:
    """Each report as +came -went, the first words of a bot behind a star."""
    reports = [action for action in live(story)[1] if isinstance(action, ReportPeople)]
    came = [" ".join(f"+{each.id}" for each in report.joined) for report in reports]
    went = [" ".join(f"-{each}" for each in report.left) for report in reports]
    stars = ["*" if report.anew else "" for report in reports]
    return [" ".join(filter(None, parts)) for parts in zip(stars, came, went, strict=True)]


def lines_of(done: Iterable[Action]) -> list[list[str]]:
    return [[line.id for line in action.lines] for action in done if isinstance(action, ReportChat)]


REDRAWN: Final = Seen(Screen.IN_MEETING, "meeting", 0)


@pytest.mark.parametrize(
    ("story", "reports"),
    [
        ([(1, people("a", "b"))], ["* +a +b"]),
        ([(1, people())], ["*"]),
        ([(1, REDRAWN), (2, people("a"))], ["* +a"]),
        ([(1, people("a")), (2, same("a")), (9, people("a"))], ["* +a"]),
        ([(1, people("a")), (2, people("a", "b")), (2 + PEOPLE_S / 2, people("a", "b"))], ["* +a"]),
        (
            [(1, people("a")), (2, people("a", "b")), (2 + PEOPLE_S, people("a", "b")), (9, same("a", "b"))],
            ["* +a", "+b"],
        ),
        ([(1, people("a")), (2, people("b")), (4, people("b"))], ["* +a", "+b -a"]),
        ([(1, people("a")), (2, people()), (2.5, people("a")), (4, people("a"))], ["* +a"]),
        ([(1, people("a")), (2, people()), (2.5, REDRAWN), (4, people())], ["* +a", "-a"]),
        ([(1, people("a")), (2, UNKNOWN), (9, people("a"))], ["* +a"]),
        ([(1, people("a")), (2, LEAVE), (3, people("b")), (5, people("b"))], ["* +a"]),
        ([(1, PROMPT), (2, LOBBY)], []),
    ],
)
def test_who_comes_and_who_goes_is_told_once_it_has_held_for_a_second(story: Story, reports: list[str]) -> None:
    assert comings_of(story) == reports


def test_of_a_crowd_that_is_not_read_to_its_end_nobody_is_said_to_have_gone() -> None:
    crowds = [[f"p{n}" for n in range(start, start + MOST_PEOPLE)] for start in (0, MOST_PEOPLE, 2 * MOST_PEOPLE)]
    story = [(5.0 * turn + wait, people(*crowd)) for turn, crowd in enumerate(crowds) for wait in (0, PEOPLE_S)]
    assert "-" not in "".join(comings_of(story))
    state, _ = live(story)
    assert len(state.roster.present or ()) == 2 * MOST_PEOPLE
    assert look_request(state.roster).people_key
    assert look_request(live([*story, (50, people("p0")), (51, people("p0"))])[0].roster).people_key == ""
    few = [(50.0 + wait, people("p0")) for wait in (0, 1, 2, 3, 4)]
    assert [told.count("-") for told in comings_of([*story, *few])[3:]] == [MOST_PEOPLE, MOST_PEOPLE]


def test_the_next_look_leaves_out_whom_and_what_is_known() -> None:
    assert look_request(live([(1, LOBBY)])[0].roster) == LookRequest("", "")
    assert look_request(live([(1, people("a", key="k")), (2, chat("x", "y"))])[0].roster) == LookRequest("", "y")
    assert look_request(live([(1, people("a", key="k"))])[0].roster) == LookRequest("k", "")
    changing = [(1.0, people("a", key="k")), (2.0, people("b", key="l"))]
    assert look_request(live(changing)[0].roster) == LookRequest("", ""), "until it is told"
    assert look_request(live([*changing, (4.0, people("b", key="l"))])[0].roster) == LookRequest("l", "")


def test_a_line_of_chat_is_told_once_and_at_once() -> None:
    story = [
        (1, LOBBY),
        (2, chat("x", "y")),
        (2.1, chat()),
        (2.2, chat("z", "z")),
        (3, chat("x", "y", "z", "v")),  # the known line was taken away, so the page tells all again
        (4, chat("y", "x")),
        (5, LEAVE),
        (6, chat("w")),
    ]
    state, done = live(story)
    assert lines_of(done) == [["x", "y"], ["z"], ["v"]]
    assert state.roster.line_ids == ("z", "v", "y", "x")
    assert "Ann" not in repr(worth_keeping(state))


def test_only_so_many_lines_are_remembered() -> None:
    ids = [f"line-{n}" for n in range(3 * LINES_REMEMBERED)]
    state, done = live([(1.0 + place, chat(*ids[place : place + 50])) for place in range(0, len(ids), 50)])
    assert [each for told in lines_of(done) for each in told] == ids
    assert state.roster.line_ids == tuple(ids[-LINES_REMEMBERED:])


@given(stories())
def test_of_each_person_coming_and_going_take_turns_and_no_line_is_told_twice(
    story: list[tuple[float, Observation]],
) -> None:
    there, told = set[str](), list[str]()
    for action in live(story)[1]:
        if isinstance(action, ReportPeople):
            joined = {each.id for each in action.joined}
            assert not joined & there
            assert set(action.left) <= there
            there = (there | joined) - set(action.left)
        elif isinstance(action, ReportChat):
            told += [line.id for line in action.lines]
    assert len(told) == len(set(told))


# Who does not count as another participant


def named(**names: str) -> Seen:
    there = tuple(Participant(item, name) for item, name in names.items())
    return Seen(Screen.IN_MEETING, "meeting", len(there) + 1, people=there, people_key=repr(names))


def left_for(story: Story, *, earlier: int = 0, bots: BotNames | None = None) -> Reason | None:
    limits = msgspec.structs.replace(LIMITS, only_bots=bots)
    options = SessionOptions(Names("Notetaker", earlier, tuple(bots.matches) if bots else ()))
    return ends_for(story, limits, options)


HUMAN: Final = named(a="Ann", b="Fireflies.ai Notetaker")
BOTS: Final = named(b="Fireflies.ai NOTETAKER", c="otter")
MATCHES: Final = BotNames(["notetaker", "OTTER"], activate_after=300, timeout=20)


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        ([(1, HUMAN), (400, BOTS), (419, BOTS)], None),
        ([(1, HUMAN), (400, BOTS), (420, BOTS)], Reason.ONLY_BOTS_LEFT),
        ([(1, HUMAN), (400, BOTS), (420, same("b", "c"))], Reason.ONLY_BOTS_LEFT),
        # While nobody is listed, nobody knows who came; and a part of the list says little of the rest.
        ([(1, HUMAN), (400, BOTS), (410, REDRAWN), (419, UNKNOWN), (429, REDRAWN)], None),
        ([(1, HUMAN), (400, BOTS), (410, REDRAWN), (419, UNKNOWN), (429, same("b", "c"))], Reason.ONLY_BOTS_LEFT),
        ([(1, HUMAN), (400, BOTS), (420, msgspec.structs.replace(BOTS, participants=30))], None),
        ([(1, HUMAN), (400, BOTS), (420, msgspec.structs.replace(same("b", "c"), participants=30))], None),
        ([(1, HUMAN), (400, BOTS), (420, msgspec.structs.replace(BOTS, participants=None))], Reason.ONLY_BOTS_LEFT),
        ([(1, HUMAN), (400, BOTS), (410, HUMAN), (411, BOTS), (430, BOTS)], None),
        ([(1, BOTS), (320, BOTS)], None),  # looked for from 301 on
        ([(1, BOTS), (321, BOTS)], Reason.ONLY_BOTS_LEFT),
        ([(1, HUMAN), (400, named()), (420, named())], None),  # nobody is no bot
        ([(1, HUMAN), (400, named(b="Otter", c="")), (500, named(b="Otter", c=""))], None),
        ([(1, HUMAN), (400, named(b="Otter", c="Unknown")), (500, named(b="Otter", c="Unknown"))], None),
        ([(1, named(a="")), (400, named(a="Otter")), (420, named(a="Otter"))], Reason.ONLY_BOTS_LEFT),
    ],
)
def test_a_bot_does_not_stay_with_bots_alone_if_its_job_names_them(story: Story, reason: Reason | None) -> None:
    assert left_for(story, bots=MATCHES) is reason
    assert left_for(story) is None
    assert left_for(story, bots=BotNames([""], activate_after=0)) is None, "an empty name is no name"
    assert left_for([(1, LOBBY), (2, HUMAN), (500, LOBBY)], bots=MATCHES) is None


@pytest.mark.parametrize(
    ("count", "reason"),
    [(MOST_BOTS, Reason.ONLY_BOTS_LEFT), (MOST_BOTS + 1, None), (MOST_PEOPLE, None)],  # of these not all are read
)
def test_a_crowd_is_not_taken_for_bots_only(count: int, reason: Reason | None) -> None:
    crowd = named(**{f"p{number}": "Otter" for number in range(count)})
    assert left_for([(1, crowd), (400, crowd), (500, crowd)], bots=MATCHES) is reason


@pytest.mark.parametrize(
    ("name", "word", "is_bot"),
    [
        ("Carole Bothin", "bot", False),
        ("Abbot", "bot", False),
        ("Ann's Bot", "bot", True),
        ("bot", "BOT", True),
        ("Bothin's bot", "bot", True),
        ("bot_2", "bot", True),
        ("Bot2", "bot", True),
        ("(bot)", "bot", True),
        ("my note taker here", "Note Taker", True),
        ("my note takers", "note taker", False),
        ("Otter.ai", "otter.ai", True),
        ("Otter.aida", "otter.ai", False),
        ("Ann - bot", " bot ", True),
        ("БОТ Анны", "бот", True),
        ("работа", "бот", False),
        ("bote\u0301", "bot", False),
        ("bot\u0301", "bot", False),
        ("議事録ボットさん", "ボット", True),
        ("회의록봇은", "봇", True),
        ("Zoe's 's", "'s", True),
        ("Ann", "", False),
        ("Ann", " ", False),
    ],
)
def test_a_bots_name_is_a_word_of_its_own(name: str, word: str, is_bot: bool) -> None:
    assert Names(bots=(word,)).is_bot(name) is is_bot


def test_a_client_may_have_it_anywhere() -> None:
    assert Names(bots=("bot",), whole_words=False).is_bot("Carole Bothin")
    assert not Names(bots=("", "bat"), whole_words=False).is_bot("Carole Bothin")


GHOST: Final = named(g="Notetaker")
TWO: Final = named(g="Notetaker", h="Notetaker")


@pytest.mark.parametrize(
    ("earlier", "story", "reason"),
    [
        (1, [(1, GHOST), (501, GHOST)], Reason.NO_ONE_JOINED),
        (0, [(1, GHOST), (501, GHOST)], None),  # another bot of the same name, in its own right
        (1, [(1, TWO), (501, TWO)], None),  # more than it ever was
        (2, [(1, TWO), (501, TWO)], Reason.NO_ONE_JOINED),
        (1, [(1, named()), (5, GHOST), (501, GHOST)], Reason.NO_ONE_JOINED),  # the page was slow to say
        (1, [(1, named()), (20, GHOST), (501, GHOST)], None),  # it came later, so it is none
        (1, [(1, named(g="Notetaker", a="Ann")), (9, GHOST), (309, GHOST)], Reason.EVERYONE_LEFT),
        (1, [(1, GHOST), (400, same("g")), (501, same("g"))], Reason.NO_ONE_JOINED),
        (1, [(1, GHOST), (20, named()), (30, GHOST), (501, GHOST)], None),  # the ghost went, another one came
        (1, [(1, named(a="Ann")), (400, named(a="Ann"))], None),
    ],
)
def test_a_ghost_of_its_own_earlier_attempt_is_nobody(earlier: int, story: Story, reason: Reason | None) -> None:
    assert left_for(story, earlier=earlier) is reason


def test_a_ghost_among_bots_is_neither() -> None:
    left = named(g="Notetaker", b="Otter")
    assert left_for([(1, left), (400, left)], earlier=1, bots=BotNames(["otter"])) is Reason.ONLY_BOTS_LEFT
    assert count_others(live([(1, GHOST)], options=SessionOptions(Names("Notetaker", 1)))[0].roster, 5) == 3
