"""What an adapter does to a page, and finds on it, wherever it stands and whatever lies over it."""

from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Page
from structlog.testing import capture_logs

from common.wire.messages import Join, Participant
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.platforms.conftest import Show, rewrite
from tests.worker.platforms.test_screens import (
    ADDRESS,
    HANGUP,
    JITSI,
    MEET,
    MEET_BAR,
    MEET_FIRST,
    TEAMS,
    TEAMS_BAR,
    ZOOM,
    ZOOM_BAR,
    app,
)
from worker.decide.participants import LookRequest, SeenLine
from worker.decide.words import Dismiss, PageAction, Screen, Seen
from worker.platforms import Adapter, adapter_for
from worker.platforms import page as page_adapter
from worker.platforms.page import PageAdapter
from worker.platforms.rules import NOTHING

pytestmark = pytest.mark.asyncio(loop_scope="session")

RULES: Final = """
ignore = [".talk"]
[[screen]]
name = "denied"
rule = "sorry"
text = ["Sorry"]
[[screen]]
name = "in_meeting"
rule = "call"
visible = [".call"]
[[screen]]
name = "name_prompt"
rule = "prompt"
label = ["Ask to join"]
[[popup]]
rule = "tip"
label = ["Got it"]
click = [{ label = ["Got it"] }]
on = ["in_meeting"]
[actions]
name = ["input.name"]
keys = KEYS
switch_off = [".on"]
join = [{ label = ["Ask to join"] }]
passcode = ["input.code"]
submit_passcode = [{ label = ["Go"] }]
cancel = [{ label = ["Cancel"] }]
leave = [".leave"]
confirm_leave = [".really"]
chat_open = [".talk-button"]
chat = [".talk [contenteditable]"]
send = [{ press = "Enter" }]
"""


@pytest.fixture(autouse=True)
def answers_no_click(monkeypatch: pytest.MonkeyPatch) -> None:
    """These pages mostly do not, and are not insisted on."""
    monkeypatch.setattr(page_adapter, "DEAF_S", 0.0)


def join(platform: str = "x", passcode: str = "") -> Join:
    return Join("w-1", "b-1", 1, platform, "https://meeting.example/1", "Ann's bot", passcode=passcode)


def adapter_of(folder: Path, rules: str = RULES, *, keys: bool = False) -> PageAdapter:
    path = folder / "screens.toml"
    path.write_text(rules.replace("KEYS", str(keys).lower()))
    return PageAdapter("x", path, lambda join: join.meeting_url)


async def look(page: Page, adapter: Adapter | None, request: LookRequest = NOTHING) -> Seen:
    assert adapter
    seen = await adapter.observe(page, PATIENCE_S, request)
    assert isinstance(seen, Seen)
    return seen


async def do(page: Page, adapter: Adapter | None, action: PageAction | Dismiss, passcode: str = "") -> list[Any]:
    """What the page noted of it."""
    assert adapter
    await adapter.act(page, action, join(passcode=passcode), PATIENCE_S)
    return await page.evaluate("globalThis.noted ?? []")


NOTE: Final = """<script>
  globalThis.noted = [];
  addEventListener("click", ({ target, isTrusted }) => noted.push([target.className, isTrusted]), true);
</script>"""

# Wherever it stands, it is found: the same parts in the document, in shadow roots, in frames.
PARTS: Final = "<input class=name><button class=ask>Ask to join</button><p>PHRASE</p>"
IN_SHADOW: Final = """<div id=outer></div><script>{
  const inner = document.createElement("my-part");
  outer.attachShadow({ mode: "open" }).append(inner);
  inner.attachShadow({ mode: "open" }).innerHTML = `PARTS`;
}</script>"""
IN_FRAME: Final = """<div style="height: 90px"></div><iframe id=webclient style="margin-left: 70px; width: 500px; height: 300px"></iframe><script>{
  const inside = webclient.contentDocument;
  inside.body.innerHTML = `PARTS`;
  inside.addEventListener("click", ({ target, isTrusted }) => noted.push([target.className, isTrusted]));
}</script>"""
FIELD: Final = """() => (document.querySelector("input") ?? globalThis.webclient?.contentDocument.querySelector("input")
  ?? outer.shadowRoot.firstChild.shadowRoot.querySelector("input")).value"""


async def test_what_stands_anywhere_is_found_typed_into_and_clicked_on(page: Page, show: Show, tmp_path: Path) -> None:
    adapter = adapter_of(tmp_path)
    await show("https://meeting.example/1", "")
    for where in ("PARTS", IN_SHADOW, IN_FRAME):
        await rewrite(page, NOTE + where.replace("PARTS", PARTS))
        assert (await look(page, adapter)).rule == "prompt", where
        noted = await do(page, adapter, PageAction.FILL_NAME_AND_JOIN)
        assert noted[-1][1] is True, where
        assert await page.evaluate(FIELD) == "Ann's bot", where
        await rewrite(page, NOTE + where.replace("PARTS", PARTS.replace("PHRASE", "So&shy;rry <b>all</b>")))
        assert (await look(page, adapter)).rule == "sorry", where


async def test_a_frame_that_does_not_show_shows_nothing(page: Page, show: Show, tmp_path: Path) -> None:
    hidden = IN_FRAME.replace("<iframe ", "<iframe hidden ").replace("PARTS", PARTS).replace("500px", "0")
    await show("https://meeting.example/1", NOTE + hidden.replace('style="margin', 'style="display: none; margin'))
    assert (await look(page, adapter_of(tmp_path))).screen is Screen.BLANK


async def test_a_name_that_stands_there_is_not_typed_again(page: Page, show: Show, tmp_path: Path) -> None:
    html = """<input class=name value="Ann's bot" oninput="globalThis.typed = true"><button class="on" onclick="this.className = 'off'">Mic</button>
      <button>Ask to join</button>"""
    await show("https://meeting.example/1", html)
    await do(page, adapter_of(tmp_path), PageAction.FILL_NAME_AND_JOIN)
    assert await page.evaluate("[globalThis.typed ?? false, document.querySelector('.off') !== null]") == [False, True]


async def test_a_page_that_wants_keys_gets_them(page: Page, show: Show, tmp_path: Path) -> None:
    html = """<input class=name onkeydown="keys = (globalThis.keys ?? '') + event.key"><button>Ask to join</button>"""
    await show("https://meeting.example/1", html)
    await do(page, adapter_of(tmp_path, keys=True), PageAction.FILL_NAME_AND_JOIN)
    assert await page.evaluate("[keys, document.querySelector('input').value]") == ["Ann's bot", "Ann's bot"]


MIC: Final = "<button class='mic on'>Mic</button>"
# What was clicked on beside each.
SWITCHES: Final = {
    # It stays on.
    MIC: ["mic on"],
    # It takes its time.
    MIC.replace(">", " onclick='setTimeout(() => this.className = `mic`, 300)'>", 1): ["mic on", "ask"],
    # It is labelled twice.
    "<p class=on onclick='this.classList.toggle(`on`)'><button class='mic on' onclick='this.className = `mic`'>.</button></p>": ["mic on", "ask"],
    # It cannot be clicked on.
    "<p><svg class='mic on'></svg></p>": [],
}  # fmt: skip


async def test_nobody_joins_while_a_microphone_is_on(
    page: Page, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await show("https://meeting.example/", "")
    for switch, noted in SWITCHES.items():
        monkeypatch.setattr(page_adapter, "OFF_S", PATIENCE_S if noted[-1:] == ["ask"] else 0.3)
        await rewrite(page, f"{NOTE}<input class=name>{switch}<button class=ask>Ask to join</button>")
        assert names(await do(page, adapter_of(tmp_path), PageAction.FILL_NAME_AND_JOIN)) == noted, switch
        if noted[-1:] == ["ask"]:
            await page.wait_for_timeout(LATER_MS)
            assert await page.evaluate("document.querySelectorAll('.on button.on, button.on').length") == 0, switch


def names(noted: list[Any]) -> list[str]:
    """What was clicked on, however often in a row."""
    return [*dict.fromkeys(name for name, _ in noted)]


LATER_MS: Final = 400
DEAF: Final = "<button class='mic on' onclick='if (performance.now() > (globalThis.until ??= performance.now() + 500)) this.classList.toggle(`on`)'>Mic</button>"


async def test_a_switch_that_loses_its_first_clicks_is_clicked_on_again_at_once(
    page: Page, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_adapter, "OFF_S", PATIENCE_S)
    await show("https://meeting.example/", f"{NOTE}{DEAF}<button class=ask>Ask to join</button>")
    noted = await do(page, adapter_of(tmp_path), PageAction.FILL_NAME_AND_JOIN)
    assert (noted[-1], await page.locator(".on").count()) == (["ask", True], 0)


BUTTONS: Final = {
    "name prompt": ("<input class=name>BUTTON", PageAction.FILL_NAME_AND_JOIN, "Ask to join"),
    "popup": ("<div class=call>.</div>BUTTON", Dismiss("tip"), "Got it"),
    "meeting": ("<div class=call>.</div>BUTTON", PageAction.LEAVE_MEETING, "Leave"),
}


ANSWERS: Final = ("disabled = true", "remove()", "textContent += '.'", "ariaBusy = 'true'")
# Each button, and each answer.
QUICK: Final = tuple(zip(("meeting", "popup", "name prompt", "name prompt"), ANSWERS, strict=True))


REST: Final = tuple((where, answer) for where in BUTTONS for answer in ANSWERS if (where, answer) not in QUICK)


@pytest.mark.parametrize("tried", [QUICK, pytest.param(REST, marks=pytest.mark.long)], ids=["quick", "rest"])
async def test_a_button_that_was_deaf_is_clicked_on_soon_after_and_once(
    page: Page, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: tuple[tuple[str, str], ...]
) -> None:
    monkeypatch.setattr(page_adapter, "DEAF_S", 60.0)
    await show("https://meeting.example/1", "")
    for where, answer in tried:
        html, action, label = BUTTONS[where]
        button = f"<button class=leave onclick='heard(this)'>{label}</button>"
        script = f"""<script>
          globalThis.times = [];
          globalThis.until = 0;
          globalThis.heard = (button) => {{
            until ||= performance.now() + 350;
            if (performance.now() < until) return;
            times.push(performance.now() - until);
            button.{answer};
          }};
        </script>"""
        await rewrite(page, html.replace("BUTTON", button) + script)
        await adapter_of(tmp_path).act(page, action, join(), PATIENCE_S)
        [late_ms] = await page.evaluate("times")
        assert late_ms < (page_adapter.TOOK_S + MACHINE_S) * 1000, (where, answer)


MACHINE_S: Final = 10.0  # what a busy one adds


@pytest.mark.long
async def test_a_page_that_was_loaded_anew_has_switches_of_its_own(
    page: Page, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_adapter, "TRIES_TO_SWITCH_OFF", 1)
    monkeypatch.setattr(page_adapter, "OFF_S", 0.1)
    adapter = adapter_of(tmp_path)
    for address in ("https://meeting.example/1", "https://meeting.example/2"):
        await show(address, f"{NOTE}<button class='mic on'>Mic</button><button class=ask>Ask to join</button>")
        assert names(await do(page, adapter, PageAction.FILL_NAME_AND_JOIN)) == ["mic on"]
    await page.evaluate(
        "() => { document.querySelector('.mic').onclick = ({ target }) => { target.className = 'off'; }; }"
    )
    assert names(await do(page, adapter, PageAction.FILL_NAME_AND_JOIN)) == ["mic on", "ask"]


async def test_a_wish_is_tried_once_and_keeps_nobody_out(page: Page, show: Show, tmp_path: Path) -> None:
    adapter = adapter_of(tmp_path, RULES.replace('switch_off = [".on"]', 'switch_on = [".louder"]'))
    html = f"{NOTE}<button class=louder>Speaker</button><button class=ask>Ask to join</button>"
    await show("https://meeting.example/1", html)
    assert [name for name, _ in await do(page, adapter, PageAction.FILL_NAME_AND_JOIN)] == ["louder", "ask"]


async def test_a_device_that_is_on_in_the_call_is_told_and_switched_off_and_nobody_elses(
    page: Page, show: Show, tmp_path: Path
) -> None:
    adapter = adapter_of(tmp_path)
    others = "<ul><li><button class=on>Ann's</button></ul><button class=on disabled>Off</button>"
    own = "<button class='mic on' onclick='this.className = `mic`'>Mic</button>"
    await show("https://meeting.example/1", f"{NOTE}{own}{others}<div class=call>.</div>")
    assert (await look(page, adapter)).sends
    assert names(await do(page, adapter, PageAction.SWITCH_OFF)) == ["mic on"]
    assert not (await look(page, adapter)).sends


async def test_a_page_whose_switch_cannot_be_moved_sends_nothing(
    page: Page, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_adapter, "OFF_S", 0.1)
    await show("https://meeting.example/1", "<button class=on>Mic</button><div class=call>.</div>")
    await page.evaluate("""() => {
      const sound = () => new AudioContext().createMediaStreamDestination().stream;
      navigator.mediaDevices.getUserMedia = async () => sound();
      globalThis.connection = new RTCPeerConnection();
      connection.addTrack(sound().getTracks()[0]);
    }""")
    await adapter_of(tmp_path).act(page, PageAction.SWITCH_OFF, join(), PATIENCE_S)
    sent = """async () => {
      const [track] = (await navigator.mediaDevices.getUserMedia({ audio: true })).getTracks();
      return [track.enabled, connection.getSenders()[0].track.enabled];
    }"""
    assert await page.evaluate(sent) == [False, False]


async def test_a_switch_that_nothing_switches_off_keeps_the_bot_out_for_a_few_tries_only(
    page: Page, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_adapter, "TRIES_TO_SWITCH_OFF", 1)
    monkeypatch.setattr(page_adapter, "OFF_S", 0.1)
    adapter = adapter_of(tmp_path)
    await show(
        "https://meeting.example/", f"{NOTE}<button class='mic on'>Mic</button><button class=ask>Ask to join</button>"
    )
    assert names(await do(page, adapter, PageAction.FILL_NAME_AND_JOIN)) == ["mic on"]
    assert names(await do(page, adapter, PageAction.FILL_NAME_AND_JOIN)) == ["mic on", "ask"]


LABELS: Final = {
    "zoom": {
        "Mute": "Unmute",
        "Mute my microphone": "Unmute my microphone",
        "Stop Video": "Start Video",
    },
    "jitsi": {"Mute microphone": "Unmute microphone", "Stop camera": "Start camera"},
    "teams": {"Turn off microphone": "Turn on", "Mute mic": "Turn on", "Turn camera off": "Turn on"},
}
JOIN_BUTTONS: Final = {
    "zoom": "<button class=join aria-label='Join meeting'>Join</button>",
    "jitsi": "<button class=join aria-label='Join meeting'>Join</button>",
    "teams": "<input placeholder='Type your name'><button class=join>Join now</button>",
}


@pytest.mark.long
@pytest.mark.parametrize("platform", LABELS)
async def test_a_switch_that_has_a_label_only_is_switched_off(page: Page, show: Show, platform: str) -> None:
    await show(ADDRESS[platform], "")
    for on, off in LABELS[platform].items():
        switch = f"<div role=button class=switch aria-label='{on}' onclick='this.ariaLabel = `{off}`'>x</div>"
        await rewrite(page, f"{NOTE}{switch}{JOIN_BUTTONS[platform]}")
        noted = await do(page, adapter_for(platform), PageAction.FILL_NAME_AND_JOIN)
        assert [name for name, _ in noted] == ["switch", "join"], on


async def test_a_page_without_a_field_for_the_name_is_joined_all_the_same(
    page: Page, show: Show, tmp_path: Path
) -> None:
    await show("https://meeting.example/1", NOTE + "<button class=ask>Ask to join</button>")
    assert await do(page, adapter_of(tmp_path), PageAction.FILL_NAME_AND_JOIN) == [["ask", True]]


async def test_a_click_that_something_swallows_is_not_made_and_after_two_tries_is_the_pages_own(
    page: Page, show: Show, tmp_path: Path
) -> None:
    adapter = adapter_of(tmp_path)
    cover = "<div class=cover style='position: fixed; inset: 0'></div>"
    await show("https://meeting.example/1", f"{NOTE}<button class=ask>Ask to join</button>{cover}")
    for _ in range(2):
        assert await do(page, adapter, PageAction.FILL_NAME_AND_JOIN) == []
    assert await do(page, adapter, PageAction.FILL_NAME_AND_JOIN) == [["ask", False]]


@pytest.mark.long
async def test_a_bar_that_hides_itself_comes_back_for_the_mouse_and_is_clicked_on(
    page: Page, show: Show, tmp_path: Path
) -> None:
    html = f"""{NOTE}<div class=call>.</div><div id=bar style="visibility: hidden"><button class=leave>Leave</button></div>
      <script>addEventListener("mousemove", () => {{ bar.style.visibility = "visible"; }});</script>"""
    await show("https://meeting.example/1", html)
    assert (await do(page, adapter_of(tmp_path), PageAction.LEAVE_MEETING))[0][0] == "leave"


async def test_leaving_is_confirmed_where_the_page_asks_and_never_by_enter(
    page: Page, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_adapter, "CONFIRM_S", PATIENCE_S)
    html = f"""{NOTE}<button class=leave onclick="later()">Leave</button>
      <script>const later = () => setTimeout(() => {{ document.body.innerHTML += "<button class=really>Yes</button>"; }}, 50);</script>"""
    await show("https://meeting.example/1", html)
    adapter = adapter_of(tmp_path)
    assert await do(page, adapter, PageAction.LEAVE_MEETING) == [["leave", True], ["really", True]]
    assert (await do(page, adapter, PageAction.LEAVE_MEETING))[2:] == [["really", True]]


async def test_a_passcode_is_entered_beside_the_name(page: Page, show: Show, tmp_path: Path) -> None:
    await show(
        "https://meeting.example/1",
        NOTE + "<input class=name><input class=code type=password><button class=go>Go</button>",
    )
    assert await do(page, adapter_of(tmp_path), PageAction.ENTER_PASSCODE, "s3cret") == [["go", True]]
    assert await page.evaluate("[...document.querySelectorAll('input')].map((field) => field.value)") == [
        "Ann's bot",
        "s3cret",
    ]


async def test_what_lies_over_the_page_is_told_on_its_screens_and_put_away(
    page: Page, show: Show, tmp_path: Path
) -> None:
    adapter = adapter_of(tmp_path)
    tip = "<div><span>New!</span><button class=tip onclick='this.parentElement.remove()'>Got it</button></div>"
    await show("https://meeting.example/1", f"{NOTE}{tip}<button>Ask to join</button>")
    assert (await look(page, adapter)).popup == ""
    await show("https://meeting.example/1", f"{NOTE}{tip}<div class=call>.</div>")
    assert (await look(page, adapter)).popup == "tip"
    assert await do(page, adapter, Dismiss("tip")) == [["tip", True]]
    assert (await look(page, adapter)).popup == ""
    await adapter.act(page, Dismiss("unheard-of"), join(), PATIENCE_S)
    await adapter.act(page, PageAction.LOAD_AGAIN, join(), PATIENCE_S)


async def test_it_opens_the_chat_where_it_is_closed_and_says_it_once(
    page: Page, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_adapter, "CHAT_OPEN_S", PATIENCE_S)
    html = """<div class=call>.</div><button class=talk-button onclick="setTimeout(open_, 30)">Chat</button><div class=talk></div><script>
      globalThis.said = [];
      function open_() {
        document.querySelector(".talk").innerHTML = "<div contenteditable>old</div>";
        const field = document.querySelector("[contenteditable]");
        field.onkeydown = (event) => {
          if (event.key !== "Enter") return;
          event.preventDefault();
          setTimeout(() => { said.push(field.textContent); field.textContent = ""; }, 20);
        };
      }
    </script>"""
    await show("https://meeting.example/1", html)
    adapter = adapter_of(tmp_path)
    for text in ("Hello", "Again"):
        assert await adapter.say(page, text, PATIENCE_S)
    assert await page.evaluate("said") == ["Hello", "Again"]


async def test_a_page_without_a_chat_is_told_nothing(
    page: Page, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_adapter, "CHAT_OPEN_S", 0.3)
    await show("https://meeting.example/1", "<div class=call>.</div>")
    assert not await adapter_of(tmp_path).say(page, "Hello", PATIENCE_S)
    await show("https://meeting.example/1", "<div class=call>.</div><button class=talk-button>Chat</button>")
    assert not await adapter_of(tmp_path).say(page, "Hello", PATIENCE_S)


async def test_facts_that_are_no_javascript_are_told_once_and_the_other_rules_hold(
    page: Page, show: Show, tmp_path: Path
) -> None:
    adapter = adapter_of(tmp_path, "facts = '() => ({'\n" + RULES)
    await show("https://meeting.example/1", "<div class=call>.</div>")
    with capture_logs() as logs:
        assert [(await look(page, adapter)).rule for _ in range(2)] == ["call", "call"]
    assert [entry["event"] for entry in logs] == ["adapter_facts_bad"]


async def test_a_pattern_that_only_python_knows_is_told_once_and_the_other_rules_hold(
    page: Page, show: Show, tmp_path: Path
) -> None:
    await show("https://meeting.example/1", "<div class=call>.</div>")
    for key in ("url", "url_not"):
        odd = f"[[screen]]\nname = 'full'\nrule = 'odd'\n{key} = '(?P<a>x)'\n[[screen]]"
        adapter = adapter_of(tmp_path, RULES.replace("[[screen]]", odd, 1))
        with capture_logs() as logs:
            assert [(await look(page, adapter)).rule for _ in range(2)] == ["call", "call"]
        assert [(entry["event"], entry["selector"]) for entry in logs] == [("adapter_selector_bad", "(?P<a>x)")]


async def test_a_selector_that_is_none_is_told_once_and_the_other_rules_hold(
    page: Page, show: Show, tmp_path: Path
) -> None:
    adapter = adapter_of(tmp_path, RULES.replace('visible = [".call"]', 'visible = ["::::", ".call"]'))
    await show("https://meeting.example/1", "<div class=call>.</div>")
    with capture_logs() as logs:
        assert [(await look(page, adapter)).rule for _ in range(2)] == ["call", "call"]
    assert [(entry["event"], entry["selector"]) for entry in logs] == [("adapter_selector_bad", "::::")]


async def test_a_page_that_trusts_no_strings_is_looked_at_and_joined(page: Page, show: Show, tmp_path: Path) -> None:
    policy = "default-src 'self'; script-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    html = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><input class=name><button>Ask to join</button>'
    )
    await show("https://meeting.example/1", html)
    adapter = adapter_of(tmp_path)
    assert (await look(page, adapter)).rule == "prompt"
    await do(page, adapter, PageAction.FILL_NAME_AND_JOIN)
    assert await page.evaluate("document.querySelector('input').value") == "Ann's bot"


@pytest.mark.long
async def test_a_page_of_twenty_thousand_elements_is_looked_at_in_time(page: Page, show: Show) -> None:
    rows = "<div class=a><span>some text</span><button>Do it</button><i>y</i></div>" * 5000
    await show(MEET, f"{rows}<p>You’re waiting to be let in</p>")
    assert (await look(page, adapter_for("google_meet"))).rule == "lobby-text"


async def test_a_page_that_could_not_be_had_has_failed(page: Page, show: Show) -> None:
    await show(MEET, "")
    await page.route("**/gone", lambda route: route.abort())
    await page.evaluate("location.href = '/gone'")
    await wait_until(lambda: page.url.startswith("chrome-error:"))
    assert (await look(page, adapter_for("google_meet"))).rule == "browser-error-page"


# The platforms' own: what lies over the page, and what is read


POPUPS: Final = [
        ("google_meet", "<div role=dialog><button>Continue without microphone and camera</button></div>", "device-question"),
        ("google_meet", MEET_BAR + "<button>Got it</button>", "got-it"),
        ("google_meet", "<button>Use without an account</button><button>Ask to join</button>", "account-promotion"),
        ("google_meet", MEET_BAR + "<div role=dialog>This call is being recorded<button>Join now</button></div>", "recording-consent"),
        ("google_meet", MEET_BAR + "<div role=dialog>This call is being recorded<button>Close</button></div>", "recording-notice"),
        ("google_meet", MEET_BAR + "<div role=dialog>Take notes with Gemini is on<button>Join now</button></div>", "recording-consent"),
        ("google_meet", MEET_BAR + "<div data-disable-esc-to-close=true>.</div>", "escape-overlay"),
        ("zoom", "<div id=onetrust-banner-sdk><button id=onetrust-accept-btn-handler>Yes</button></div>", "cookie-banner"),
        ("zoom", "<button>Accept Cookies</button>", "cookie-question"),
        ("zoom", "<button id=disclaimer_agree>I Agree</button>", "terms"),
        ("zoom", "<button>Allow</button><button class=preview-join-button>Join</button>", "device-permission"),
        ("zoom", "<button>Continue without microphone and camera</button>", "device-permission"),
        ("zoom", "<p>Cannot detect your camera</p><button>Dismiss</button>", "missing-device"),
        ("zoom", ZOOM_BAR + "<button>Join Audio by Computer</button>", "join-audio"),
        ("zoom", ZOOM_BAR + "<div class=zm-modal>This meeting is being recorded<button>Got it</button></div>", "recording-notice"),
        ("teams", "<button>Join now</button><div role=dialog>Are you sure you want to join without audio?<button>Continue without audio or video</button></div>", "no-devices-question"),
        ("teams", TEAMS_BAR + "<button>Got it</button>", "notice"),
        ("jitsi", HANGUP + "<button>Got it</button>", "notice"),
        ("google_meet", MEET_BAR, ""),
]  # fmt: skip
COUNTS: Final = [
        ("google_meet", MEET_BAR, 3, ""),
        ("google_meet", "<div data-avatar-count=7>.</div>" + MEET_BAR, 7, ""),
        ("zoom", ZOOM_BAR, 3, ""),
        ("zoom", ZOOM_BAR.replace("3 participants", "10:30 2 participants")
            + "<div class=speaker-active-container__video-frame><div class=video-avatar__avatar-footer><span>Ann</span></div></div>", 2, "Ann"),
        ("teams", TEAMS_BAR, 3, ""),
        ("teams", TEAMS_BAR + "<p>You’re the only one here</p>", 1, ""),
        ("jitsi", HANGUP + "<div id=remoteVideos><div class=videocontainer id=participant_1></div></div>", 2, ""),
        ("jitsi", HANGUP, None, ""),
        ("teams", TEAMS_BAR.replace("People 3", "People") + "<div data-stream-type=Video data-tid=Ann>Ann</div>" * 2, 2, ""),
        ("teams", TEAMS_BAR.replace("People 3", "People"), None, ""),
        ("google_meet", MEET_BAR + "<div data-participant-id=1 data-audio-level=4 aria-label=Ann>.</div>", 3, "Ann"),
        ("google_meet", MEET_BAR + "<div data-participant-id=1 class='x Oaajhc'><i class=notranslate>Ann</i></div>", 3, "Ann"),
]  # fmt: skip


@pytest.mark.parametrize("platform", MEET_FIRST)
async def test_each_platforms_popups_are_known(page: Page, show: Show, platform: str) -> None:
    await show(ADDRESS[platform], "")
    for of, html, popup in POPUPS:
        if of == platform:
            assert (await told_on(page, platform, html)).popup == popup, html


@pytest.mark.parametrize("platform", MEET_FIRST)
async def test_how_many_are_there_and_who_speaks_is_read(page: Page, show: Show, platform: str) -> None:
    await show(ADDRESS[platform], "")
    for of, html, participants, speaker in COUNTS:
        if of == platform:
            seen = await told_on(page, platform, html)
            assert (seen.screen, seen.participants, seen.speaker) == (Screen.IN_MEETING, participants, speaker), html


async def told_on(page: Page, platform: str, html: str) -> Seen:
    await rewrite(page, html)
    return await look(page, adapter_for(platform))


async def test_google_meets_people_are_read_off_their_tiles(page: Page, show: Show) -> None:
    tiles = """<div data-participant-id=me><span class=notranslate>Bot</span><i data-self-name=Bot></i></div>
      <div data-participant-id=a><div data-audio-level=2></div><span class=notranslate>Ann</span></div><div data-participant-id=a></div>
      <div data-participant-id=e aria-label="Backgrounds and effects"></div><div data-participant-id=m aria-label="Merged audio"></div>"""
    await show(MEET, tiles + bar_without_count())
    seen = await look(page, adapter_for("google_meet"))
    assert (seen.participants, seen.people, seen.speaker) == (2, (Participant("a", "Ann"),), "Ann")


@pytest.mark.parametrize(
    ("platform", "tile", "bar"),
    [
        pytest.param(
            "zoom", "<div class=video-avatar__avatar-footer><span>NAME</span></div>", ZOOM_BAR, marks=pytest.mark.long
        ),
        ("teams", "<span data-tid=participant-info-nametag>NAME</span>", TEAMS_BAR),
    ],
)
async def test_where_nothing_marks_the_bot_it_is_whoever_bears_its_name(
    page: Page, show: Show, platform: str, tile: str, bar: str
) -> None:
    await show(ADDRESS[platform], bar + "".join(tile.replace("NAME", name) for name in ("Ann", "Bot (Guest)", "Ann")))
    seen = await look(page, adapter_for(platform), LookRequest(own="Bot"))
    assert seen.people == (Participant("Ann", "Ann"),)


def bar_without_count() -> str:
    return MEET_BAR.replace("People - 3 joined", "Show everyone")


async def test_jitsis_own_program_tells_who_is_there_and_what_is_said(page: Page, show: Show) -> None:
    room = """{
      isJoined: () => true,
      getParticipants: () => [
        { getId: () => "a", getDisplayName: () => "Ann", isHidden: () => false },
        { getId: () => "r", getDisplayName: () => "Recorder", isHidden: () => true },
      ],
    }"""
    state = """{
      "features/base/participants": { dominantSpeaker: "a" },
      "features/chat": { messages: [
        { messageId: "2", participantId: "me", displayName: "Bot", message: "Hello", messageType: "local", timestamp: 2 },
        { messageId: "1", participantId: "a", displayName: "Ann", message: "You have been kicked", messageType: "remote", timestamp: 1 },
        { messageId: "0", message: "joined", messageType: "system", timestamp: 0 },
      ] },
    }"""
    await show(JITSI, app(joined=True, state=state, room=room))
    seen = await look(page, adapter_for("jitsi"))
    assert (seen.screen, seen.participants, seen.speaker) == (Screen.IN_MEETING, 2, "Ann")
    assert seen.people == (Participant("a", "Ann"),)
    own = SeenLine("2", "me", "Bot", "Hello", own=True)
    assert seen.lines == (SeenLine("1", "a", "Ann", "You have been kicked"), own)
    again = await look(page, adapter_for("jitsi"), LookRequest(seen.people_key, "1"))
    assert (again.people, again.lines) == (None, (own,))


@pytest.mark.long
async def test_teams_toggles_are_switched_off_and_a_page_in_the_lobby_is_left(page: Page, show: Show) -> None:
    html = f"""{NOTE}<input data-tid=prejoin-display-name-input><button class=mic data-tid=toggle-mute aria-checked=true
        onclick="this.ariaChecked = false">Mic</button>
      <button class=cam data-tid=toggle-video aria-checked=false>Cam</button><button class=join data-tid=prejoin-join-button>Join now</button>"""
    await show(TEAMS, html)
    teams = adapter_for("teams")
    assert [name for name, _ in await do(page, teams, PageAction.FILL_NAME_AND_JOIN)] == ["mic", "join"]
    await show(
        TEAMS, f"{NOTE}<p>You're in the lobby</p><button class=cancel data-tid=prejoin-cancel-button>Cancel</button>"
    )
    assert await do(page, teams, PageAction.CANCEL_REQUEST) == [["cancel", True]]


@pytest.mark.long
async def test_zooms_join_button_is_clicked_on_under_its_card_but_not_while_it_is_off(page: Page, show: Show) -> None:
    html = f"""{NOTE}<input id=input-for-name><button class="preview-join-button disabled">Join</button>
      <div class=preview-meeting-info style="position: fixed; inset: 0"></div>"""
    await show(ZOOM, html)
    zoom = adapter_for("zoom")
    assert zoom
    await page.evaluate("""() => {
      const button = document.querySelector("button");
      document.querySelector("input").onkeyup = () => button.classList.remove("disabled");
    }""")
    noted = await do(page, zoom, PageAction.FILL_NAME_AND_JOIN)
    assert noted[-1] == ["preview-join-button", False]


@pytest.mark.long
async def test_a_launcher_is_passed(page: Page, show: Show) -> None:
    await show(TEAMS, f"{NOTE}<button class=web data-tid=joinOnWeb>Continue on this browser</button>")
    assert await do(page, adapter_for("teams"), PageAction.CONTINUE) == [["web", True]]
