"""Who else is in the meeting, and what was said in its chat: what of it is new, and what need not be read again. Pure.

`notice(company, look, now)` compares what a look at the page found with what was told before, so that each coming, each
going and each line is told once: a line at once, who came or went when it has held for `PEOPLE_S`. Whether there is a
meeting to look at is said in `worker.decide.lifecycle`.

Not everybody who is there is company. A bot that is sent in again may find its own earlier attempt still on the list,
a ghost that the platform has not missed yet: of those who bear the bot's name and were there when it came in, as many
as it had attempts before count as nobody. And whoever bears a name that the job calls a bot's may be left alone.
"""

from typing import Annotated, Final
from unicodedata import category

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from common.wire.messages import Participant

PEOPLE_S: Final = 1.0  # lists of people are redrawn, too
MOST_PEOPLE: Final = 500  # that are read off a page
MOST_LINES: Final = 100  # of its chat, the latest
LINES_REMEMBERED: Final = 200  # by their ids, so that none is told twice
GHOSTS_S: Final = 10.0  # from the first list of people on: pages fill it little by little
_NAMELESS: Final = ("", "unknown")  # what pages show until they know the name: a person, for all that is known


class SeenLine(msgspec.Struct, frozen=True):
    """One line of the page's chat. `own`: the bot said it."""

    id: str
    sender_id: str = ""
    sender_name: str = ""
    text: str = ""
    own: bool = False


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """`people`: all others who are there; None: the page does not say, or they are those known by `people_key`.
    `lines`: of the chat, in order, those after the one that was known.
    """

    people: Annotated[tuple[Participant, ...], Meta(max_length=MOST_PEOPLE)] | None = None
    people_key: str = ""
    lines: Annotated[tuple[SeenLine, ...], Meta(max_length=MOST_LINES)] = ()


class Known(msgspec.Struct, frozen=True):
    """What need not be read off the page again: these people, and the chat up to this line. `own`: the bot's name, for
    pages that do not mark which of the people it is. `inside`: it was let in; `document`: the one that showed the call;
    `place`: at which address.
    """

    people_key: str = ""
    line: str = ""
    own: str = ""
    inside: bool = False
    document: float = 0.0
    place: str = ""


class Names(msgspec.Struct, frozen=True):
    """Whom the bot takes for no company. `own`: its name, with so many attempts `earlier`; `bots`: parts of names, in
    whatever case; with `whole_words` they are words of their own, so that "bot" is in "Ann's bot", not in "Bothin".
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


def _goes_on(one: str, other: str) -> bool:
    """Whether a word goes on from one character to the other: both are letters, or marks on them, of a script that puts
    spaces between words. Digits, signs and the ends of the text are not, nor is what Chinese or Japanese is written in.
    """
    return all(
        character and category(character)[0] in "LM" and (character < "\u0e00" or "\u1e00" <= character < "\u2000")
        for character in (one, other)
    )


class ReportPeople(msgspec.Struct, frozen=True):
    """Who came and who went, by their ids; `anew`: nobody else is there."""

    joined: tuple[Participant, ...] = ()
    left: tuple[str, ...] = ()
    anew: bool = False


class ReportChat(msgspec.Struct, frozen=True):
    lines: tuple[SeenLine, ...]


News = ReportPeople | ReportChat


NOBODY: Final = Names()


class Company(msgspec.Struct, frozen=True):
    """What was told so far."""

    people_key: str = ""  # what the page said of the people whom the last look found
    present: tuple[str, ...] | None = None  # the ids of those who were told to be there; None: nothing was told yet
    differs_since: float | None = None  # since when others are there
    heard: tuple[str, ...] = ()  # the ids of the latest chat lines; the texts are nobody's to keep
    since: float | None = None  # when the first list of people was seen
    ghosts: tuple[str, ...] = ()  # the ids of the bot's own earlier attempts that are still there
    only_bots_since: float | None = None  # since when there are others, and all of them bots by name
    listed: int = 0  # how many others the last list held
    is_listed: bool = False  # that list still showed by the last look


def notice(company: Company, look: Look, now: float, names: Names = NOBODY) -> tuple[Company, tuple[News, ...]]:
    company, people = _notice_people(_notice_names(company, look, now, names), look, now)
    company, lines = _notice_lines(company, look.lines)
    return company, tuple(news for news in (people, lines) if news)


def others(company: Company, participants: int | None) -> int | None:
    """How many of `participants` are company to the bot, which is one of them; None: the page does not say."""
    return max(participants - 1 - len(company.ghosts), 0) if participants else None


def are_only_bots(company: Company, participants: int | None) -> bool:
    """Whether all others are bots by name as far as the page shows them now: of a list that shows a part of those who
    are counted, the rest may be anybody.
    """
    return company.only_bots_since is not None and company.is_listed and (participants or 1) - 1 <= company.listed


def known(company: Company, own: str = "", *, inside: bool = False, document: float = 0.0, place: str = "") -> Known:
    """What the next look at the page may leave out."""
    return Known(company.people_key, company.heard[-1] if company.heard else "", own, inside, document, place)


def _notice_names(company: Company, look: Look, now: float, names: Names) -> Company:
    """Who of those on the list is no company. A list that is not there says nothing."""
    if look.people is None:
        return replace(company, is_listed=bool(look.people_key))
    since = now if company.since is None else company.since
    namesakes = [one.id for one in look.people if one.name == names.own]
    known = namesakes if now - since <= GHOSTS_S else [one for one in namesakes if one in company.ghosts]
    ghosts = tuple(known[: names.earlier])
    rest = [one.name for one in look.people if one.id not in ghosts]
    only_bots = bool(rest) and len(look.people) < MOST_PEOPLE and all(map(names.is_bot, rest))
    only_bots_since = (now if company.only_bots_since is None else company.only_bots_since) if only_bots else None
    return replace(
        company,
        since=since,
        ghosts=ghosts,
        only_bots_since=only_bots_since,
        listed=len(look.people),
        is_listed=True,
    )


def _notice_people(company: Company, look: Look, now: float) -> tuple[Company, ReportPeople | None]:
    if look.people is None:
        return replace(company, people_key=look.people_key), None
    anew, before = company.present is None, dict.fromkeys(company.present or ())
    there = {one.id: one for one in look.people}
    joined = tuple(one for one in there.values() if one.id not in before)
    missing = tuple(one for one in before if one not in there)
    left = missing[:MOST_PEOPLE] if len(look.people) < MOST_PEOPLE else ()  # else they may be further down the list
    if not (joined or left or anew):
        return replace(company, people_key=look.people_key, differs_since=None), None
    since = now if company.differs_since is None else company.differs_since
    if not anew and now - since < PEOPLE_S:
        return replace(company, people_key="", differs_since=since), None  # the next look is to read them again
    present = (*there, *missing[len(left) :])[: 2 * MOST_PEOPLE]
    key = "" if 0 < len(left) < len(missing) else look.people_key
    company = replace(company, people_key=key, present=present, differs_since=None)
    return company, ReportPeople(joined, left, anew)


def _notice_lines(company: Company, lines: tuple[SeenLine, ...]) -> tuple[Company, ReportChat | None]:
    if not lines:
        return company, None
    there, before = {line.id: line for line in lines}, set(company.heard)
    new = tuple(line for line in there.values() if line.id not in before)
    heard = (*(line for line in company.heard if line not in there), *there)
    company = replace(company, heard=heard[-LINES_REMEMBERED:])
    return company, ReportChat(new) if new else None
