"""Who else is in the meeting, and what its chat says: what of that is new, and what need not be read again. Pure.

`note_people(roster, look, now)` compares a look at the page with what was reported before. Each arrival, departure and
chat line is reported once: a line at once, an arrival or departure after it has held for PEOPLE_S. It is called while
the page shows the meeting (`worker.decide.lifecycle`).

Two kinds of participants do not count as others:
- Ghosts: earlier attempts of this bot that the platform still lists. Of the people who bear the bot's name and were
  there when it came in, as many as it had earlier attempts are ghosts.
- Other bots, by the names that the job gives. A meeting in which only bots are left may be left.
"""

from typing import Annotated, Final
from unicodedata import category

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from common.wire.messages import Participant

PEOPLE_S: Final = 1.0  # pages redraw their lists of people
MOST_PEOPLE: Final = 500  # read off a page in one look
MOST_BOTS: Final = 50  # more people are never taken for bots only: it costs processor time to look at each name
MOST_LINES: Final = 100  # read off a page in one look: the latest of its chat
LINES_REMEMBERED: Final = 200  # ids of chat lines that were reported, so that none is reported twice
GHOSTS_S: Final = 10.0  # after the first list of people: pages fill it little by little
_NAMELESS: Final = ("", "unknown")  # pages show these until they know a name; they count as a person, not a bot


class SeenLine(msgspec.Struct, frozen=True):
    """One line of the page's chat. `own`: the bot said it."""

    id: str
    sender_id: str = ""
    sender_name: str = ""
    text: str = ""
    own: bool = False


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one look found. `people`: all other participants; None: the page does not say, or they are the same as at
    the look that gave `people_key`. `lines`: the chat lines after `LookRequest.line`, in order.
    """

    people: Annotated[tuple[Participant, ...], Meta(max_length=MOST_PEOPLE)] | None = None
    people_key: str = ""
    lines: Annotated[tuple[SeenLine, ...], Meta(max_length=MOST_LINES)] = ()


class LookRequest(msgspec.Struct, frozen=True):
    """What a look at the page starts from. `people_key`, `line`: the people and the last chat line that were read
    before; they need not be read again. `own`: the bot's name, for pages that do not mark which of the people it is.
    `inside`: the bot was let in. `document`, `place`: the document and the address that last showed the call.
    """

    people_key: str = ""
    line: str = ""
    own: str = ""
    inside: bool = False
    document: float = 0.0
    place: str = ""


class Names(msgspec.Struct, frozen=True):
    """Names of participants who do not count as others. `own`: the bot's own name; `earlier`: how many attempts of the
    bot came before this one. `bots`: parts of other bots' names, in any case. With `whole_words` such a part has to be
    a word: "bot" is in "Ann's bot" and not in "Bothin".
    """

    own: str = ""
    earlier: int = 0
    bots: tuple[str, ...] = ()
    whole_words: bool = True

    def is_bot(self, name: str) -> bool:
        folded = name.strip().casefold()
        if folded in _NAMELESS:
            return False
        parts = [part.casefold().strip() if self.whole_words else part.casefold() for part in self.bots]
        holds = _holds_word if self.whole_words else str.__contains__
        return any(holds(folded, part) for part in parts if part)


def _holds_word(text: str, word: str) -> bool:
    at = text.find(word)
    while at >= 0:
        after = at + len(word)
        if not (_goes_on(text[at - 1 : at], word[0]) or _goes_on(word[-1], text[after : after + 1])):
            return True
        at = text.find(word, at + 1)
    return False


def _goes_on(before: str, after: str) -> bool:
    """Whether two neighbouring characters belong to one word: both are letters, or marks on letters, of a script that
    puts spaces between words. Digits, signs and the ends of the text do not, nor do Chinese or Japanese characters.
    """
    return all(
        character and category(character)[0] in "LM" and (character < "\u0e00" or "\u1e00" <= character < "\u2000")
        for character in (before, after)
    )


class ReportPeople(msgspec.Struct, frozen=True):
    """`joined`: who came. `left`: the ids of who left. `anew`: `joined` is everybody who is there."""

    joined: tuple[Participant, ...] = ()
    left: tuple[str, ...] = ()
    anew: bool = False


class ReportChat(msgspec.Struct, frozen=True):
    lines: tuple[SeenLine, ...]


News = ReportPeople | ReportChat


NOBODY: Final = Names()


class Roster(msgspec.Struct, frozen=True, rename={"line_ids": "heard"}):
    """What was reported so far. Times are monotonic seconds."""

    people_key: str = ""  # the page's digest of the people whom the last look found
    present: tuple[str, ...] | None = None  # ids of the people reported as present; None: nothing was reported yet
    differs_since: float | None = None  # since when the page lists other people than `present`
    line_ids: tuple[str, ...] = ()  # ids of the latest chat lines; their texts are not kept
    since: float | None = None  # when the first list of people was seen
    ghosts: tuple[str, ...] = ()  # ids of this bot's earlier attempts that the page still lists
    only_bots_since: float | None = None  # since when there are others, and all of them are bots by name
    listed: int = 0  # how many people the last list held
    is_listed: bool = False  # whether the last look showed a list


def note_people(roster: Roster, look: Look, now: float, names: Names = NOBODY) -> tuple[Roster, tuple[News, ...]]:
    roster, people = _notice_people(_notice_names(roster, look, now, names), look, now)
    roster, lines = _notice_lines(roster, look.lines)
    return roster, tuple(news for news in (people, lines) if news)


def count_others(roster: Roster, participants: int | None) -> int | None:
    """How many of the `participants` are others: neither the bot itself nor a ghost. None: the page does not say."""
    return max(participants - 1 - len(roster.ghosts), 0) if participants else None


def are_only_bots(roster: Roster, participants: int | None) -> bool:
    """Whether all others are bots by name. False where the page counts more participants than it lists: the rest may be
    people.
    """
    return roster.only_bots_since is not None and roster.is_listed and (participants or 1) - 1 <= roster.listed


def look_request(
    roster: Roster, own: str = "", *, inside: bool = False, document: float = 0.0, place: str = ""
) -> LookRequest:
    """What the next look at the page starts from."""
    return LookRequest(roster.people_key, roster.line_ids[-1] if roster.line_ids else "", own, inside, document, place)


def _notice_names(roster: Roster, look: Look, now: float, names: Names) -> Roster:
    """Finds the ghosts and the bots on the list. A page without a list changes nothing of them."""
    if look.people is None:
        return replace(roster, is_listed=bool(look.people_key))
    since = now if roster.since is None else roster.since
    namesakes = [person.id for person in look.people if person.name == names.own]
    if now - since > GHOSTS_S:
        namesakes = [person_id for person_id in namesakes if person_id in roster.ghosts]
    ghosts = tuple(namesakes[: names.earlier])
    rest = [person.name for person in look.people if person.id not in ghosts]
    only_bots = 0 < len(rest) <= MOST_BOTS and all(map(names.is_bot, rest))
    only_bots_since = (now if roster.only_bots_since is None else roster.only_bots_since) if only_bots else None
    return replace(
        roster,
        since=since,
        ghosts=ghosts,
        only_bots_since=only_bots_since,
        listed=len(look.people),
        is_listed=True,
    )


def _notice_people(roster: Roster, look: Look, now: float) -> tuple[Roster, ReportPeople | None]:
    if look.people is None:
        return replace(roster, people_key=look.people_key), None
    anew, before = roster.present is None, dict.fromkeys(roster.present or ())
    there = {person.id: person for person in look.people}
    joined = tuple(person for person in there.values() if person.id not in before)
    missing = tuple(person_id for person_id in before if person_id not in there)
    # A list of MOST_PEOPLE may be cut off, so a person missing from it may still be there.
    left = missing[:MOST_PEOPLE] if len(look.people) < MOST_PEOPLE else ()
    if not (joined or left or anew):
        return replace(roster, people_key=look.people_key, differs_since=None), None
    since = now if roster.differs_since is None else roster.differs_since
    if not anew and now - since < PEOPLE_S:
        return replace(roster, people_key="", differs_since=since), None  # no key: the next look reads them again
    present = (*there, *missing[len(left) :])[: 2 * MOST_PEOPLE]
    key = "" if 0 < len(left) < len(missing) else look.people_key
    roster = replace(roster, people_key=key, present=present, differs_since=None)
    return roster, ReportPeople(joined, left, anew)


def _notice_lines(roster: Roster, lines: tuple[SeenLine, ...]) -> tuple[Roster, ReportChat | None]:
    if not lines:
        return roster, None
    there, before = {line.id: line for line in lines}, set(roster.line_ids)
    new = tuple(line for line in there.values() if line.id not in before)
    line_ids = (*(line for line in roster.line_ids if line not in there), *there)
    roster = replace(roster, line_ids=line_ids[-LINES_REMEMBERED:])
    return roster, ReportChat(new) if new else None
