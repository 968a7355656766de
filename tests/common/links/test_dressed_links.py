"""Links that were cut, dressed up or wrapped are unwrapped or refused, never taken as they are."""

import pytest

from common.links.links import MAX_TEXT_LENGTH, BadLinkError, NoLinkError, recognise
from tests.common.links import link_cases
from tests.common.links.link_cases import CASES, DARK, DRESSES, MEET, OWN_ZOOM, SHORT, TEAMS, WRAPPERS, ZOOM, Case, made


def read(text: str) -> str | None:
    try:
        return recognise(text).url
    except BadLinkError:
        return None


@pytest.mark.parametrize("case", CASES, ids=[case.text[:100] for case in CASES])
def test_each_is_the_exact_meeting_or_refused(case: Case) -> None:
    assert read(case.text) == case.url


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("link", [MEET, ZOOM, OWN_ZOOM, TEAMS, SHORT, link_cases.JITSI])
def test_a_link_comes_out_of_its_wrapper_as_it_went_in(wrapper: str, link: str) -> None:
    assert read(WRAPPERS[wrapper](link)) == link
    assert read(f"Join {WRAPPERS[wrapper](link)} , please") == link


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
def test_whatever_is_made_of_a_link_is_that_meeting_or_refused(seed: int) -> None:
    taken = 0
    for text, meeting, must in made(seed, 500):
        found = read(text)
        assert found in ((meeting,) if must else (meeting, None)), text
        taken += found == meeting
    assert taken > 300, "most are still in plain sight"


def test_every_dress_is_tried_and_each_can_be_taken_off_some_link() -> None:
    assert not set(DRESSES) & set(DARK)
    for dress in DRESSES.values():
        assert read(dress(MEET)) == MEET
        assert read(dress(ZOOM)) == ZOOM


def test_a_passcode_whose_end_is_known_is_read_across_lines_and_one_whose_end_is_not_is_refused() -> None:
    cut = "https://company.us02web.zoom.us/j/81234567890?omn=94412345678&pwd="
    for whole in ("BCbRmbaSRrU4ZCMJxyfjRk0YFd9BFe.1", "UVR5TjBsTVdaMk9mTGNkTEJGN3VLdz09"):
        for at in range(1, len(whole)):
            assert read(f"{cut}{whole[:at]}\n{whole[at:]}\nMeeting ID: 1") == f"{cut}{whole}"
    assert read(f"{cut}abc\nDEF12\nMeeting ID: 1") is None
    assert read(f"{cut}abc\n\nMeeting ID: 1") == f"{cut}abc"
    assert read(f"{cut}abc\nMeeting ID: 1") == f"{cut}abc"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (link_cases.safe_link(ZOOM).partition("&data")[0], "a safe link of Outlook, but was cut off"),
        (link_cases.proofpoint_2(ZOOM).partition("&d=")[0], "a link of Proofpoint, but was cut off"),
        (link_cases.proofpoint_3(ZOOM).partition("__;")[0], "a link of Proofpoint, but was cut off"),
        ("https://urldefense.com/v3/__https://zoom.us/j/1?a=**9x__;JQ!!A!b$", "a link of Proofpoint, but was cut off"),
        ("https://urldefense.com/v3/__https://zoom.us/j/1?a=x__;JQ!!A!b$", "a link of Proofpoint, but was cut off"),
        ("https://urldefense.com/v3/__https://zoom.us/j/1?a=*x__;_w!!A!b$", "a link of Proofpoint, but was cut off"),
        ("https://urldefense.com/v4/x", "is not a meeting host"),
        ("https://x.protection.sophos.com/?u=%25", "does not begin with https"),
        ("https://slack-redir.net/link?x=1", "is not a meeting host"),
        ("https://meet.google.com/linkredirect?x=1", "does not begin with https"),
        ("https://teams.cdn.office.net/atp-safelinks.html", "does not begin with https"),
        ("https://url.us.m.mimecastprotect.com/s/abc?domain=zoom.us", "hides where it leads"),
        ("https://us02web.zoom.us/j/81234567890?pwd=", "its pwd is empty"),
        (f"{OWN_ZOOM},Passcode:1", "where the link's pwd ends"),
        (f"{OWN_ZOOM}%zz", "where the link's pwd ends"),
        (f"{OWN_ZOOM}&x=ü", "a letter in it that no link there has"),
        (f"{OWN_ZOOM}ü", "where the link's pwd ends"),
        (f"{OWN_ZOOM}&eacute;", "written as HTML"),
        ("https://us02web.zoom.us/j/81234567890?pwd=3DQUJ", "has =3D in it"),
        (f"{OWN_ZOOM} or https://us02web.zoom.us/j/81234567890?pwd=other", "with different passcodes"),
        ("https://teams.microsoft.com/meet/9478569230866?p=MWoG 5BGPE", "seems to be cut off"),
        ("https://meet.jit.si/Team Sync", "where the name in the link ends"),
        ("https://meet.jit.si/Team;Sync", "where the room's name ends"),
        ("https://meet.jit.si/" + "会" * 201, "more than 200 letters that are not ASCII"),
        (TEAMS[:-3] + "%2c%22a%22%3a%22" + "a" * 1500 + "%22%7d", "is not whole"),
        ("https://zoom.us/j/123456789?x=%25252525252541", "encoded too many times"),
        ("https://meet.jit.si/" + "a" * 1025, "longer than 1024"),
        ("https://meet.jit.si/" + "%41" * 151, "more than 150 escapes"),
        ("https://meet.jit.si/A?" + "a=1&" * 65, "more than 64 parameters"),
        ("https://meet.jit.si/A?" + "a=1&amp;" * 65, "more than 64 parameters"),
        (link_cases.safe_link("https://meet.jit.si/A?" + "a&" * 65), "more than 64 parameters"),
        ("see https://[::1]/x there", "'::1' is not a meeting host"),
        ("https://zoom.us/j/1?a&amp;amp;amp;amp;amp;amp;pwd=x", "written as HTML"),
        ("<" + "\n".join([OWN_ZOOM, *["a" * 70] * 45]) + ">", "seems to be cut off"),
        ("https://teams.microsoft.com/l/meetup-join/" + "%4" * 65, "encoded wrongly"),
        (f"https://zoom.us/j/{')' * 40}", "brackets or quotes end the link"),
        ("https://" + "a." * 130 + "example/x", "longer than a host can be"),
        ("https://a.b/ " * 1000, "more than 20 links"),
        ("https://a.b/ " * 30, "more than 8 links"),
        ("".join(f"https://zoom.us/j/{100_000_000 + at} " for at in range(20)), "more than [5-7] different links"),
        ("".join(f"https://jitsi{at}.example/a, " for at in range(5)), "more than [5-7] different links"),
        ("".join(f"https://zoom.us/j/123456789?x={at % 3}&pwd=a\nBc1\n" for at in range(12)), "more than 5 different"),
    ],
)  # fmt: skip
def test_a_refusal_says_why(text: str, why: str) -> None:
    with pytest.raises(BadLinkError, match=why):
        recognise(text)


def test_a_longer_text_may_hold_more_links_in_proportion() -> None:
    text = "".join(f"https://zoom.us/u/{at} and so on " for at in range(600)) + f"<{ZOOM}>"
    with pytest.raises(BadLinkError, match="longer than 16384"):
        recognise(text)
    with pytest.raises(BadLinkError, match="more than 8 different links"):
        recognise(text[-16_000:])
    with pytest.raises(BadLinkError, match="more than 9 different links"):
        recognise(text, longest=2 * MAX_TEXT_LENGTH)
    few = f"{'and so on ' * 2000} https://zoom.us/u/1 https://zoom.us/u/2 <{ZOOM}>"
    assert recognise(few, longest=2 * MAX_TEXT_LENGTH).url == ZOOM


def test_wrapped_links_to_hosts_of_no_meetings_do_not_count_however_many_there_are() -> None:
    beside = "".join(f"Help<{link_cases.safe_link(f'https://aka.ms/x{at}')}>\n" for at in range(6))
    assert read(f"{beside}Join<{link_cases.safe_link(TEAMS)}>\n{beside[:200]}") == TEAMS
    assert read(f"{beside}Join<{link_cases.sophos(TEAMS)}>") == TEAMS


def test_a_text_without_any_link_to_a_meeting_is_told_from_one_with_a_bad_one() -> None:
    for text in ("see you", "Help: https://example.com/x", "https://example.com/x", ""):
        with pytest.raises(NoLinkError):
            recognise(text)
    with pytest.raises(BadLinkError) as refusal:
        recognise("https://zoom.us/j/1")
    assert not isinstance(refusal.value, NoLinkError)
