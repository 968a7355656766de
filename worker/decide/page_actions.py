"""What a bot does to the page that it sees: dismiss popups, reload, fill in and click. Pure.

A click that changed nothing is repeated, because overlays and half-loaded pages swallow clicks. Every repetition has a
limit: a popup that keeps coming back is ignored after POPUP_TIMES, and a passcode is entered once.
"""

from typing import Final

from msgspec.structs import replace

from common.wire.vocabulary import BotState
from worker.decide.deadlines import UNSEEN_S, is_believed, was_in
from worker.decide.state import UNKNOWN_GRACE_S, Popup, State
from worker.decide.words import Dismiss, PageAction, Screen

REPEAT_S: Final = 2.0  # a click that changed nothing by then was swallowed
AGAIN_AT_LEAST_S: Final = 5.0  # between two reloads, whatever a rule says: a page needs time to load
LOSS_SHARE: Final = 0.5  # of the time for loading; then a page that shows nothing known is reloaded
POPUP_TIMES: Final = 10  # how often one popup is dismissed
CHAT_TIMES: Final = 5  # how often the chat panel is opened: another panel may close it
CHAT_AGAIN_S: Final = 10.0
SWITCH_TIMES: Final = 5  # tries in a row; after them the button that shows as on is taken for a wrong reading
POPUP_BLOCKS: Final = 2  # dismissals during which the bot does nothing else; later it also acts beneath the popup
POPUP_GONE_S: Final = 60.0  # a popup not seen for this long counts as a new one when it shows again

_ACTION_ON: Final = {
    (BotState.JOINING, Screen.LAUNCHER): PageAction.CONTINUE,
    (BotState.JOINING, Screen.NAME_PROMPT): PageAction.FILL_NAME_AND_JOIN,
    (BotState.WAITING_ROOM, Screen.LAUNCHER): PageAction.CONTINUE,  # the page reloaded itself
    (BotState.WAITING_ROOM, Screen.NAME_PROMPT): PageAction.FILL_NAME_AND_JOIN,
    (BotState.IN_MEETING, Screen.LAUNCHER): PageAction.CONTINUE,  # the page reloaded in the call: `State.is_returning`
    (BotState.IN_MEETING, Screen.NAME_PROMPT): PageAction.FILL_NAME_AND_JOIN,
    (BotState.LEAVING, Screen.WAITING_ROOM): PageAction.CANCEL_REQUEST,
    (BotState.LEAVING, Screen.WAITING_FOR_HOST): PageAction.CANCEL_REQUEST,
    (BotState.LEAVING, Screen.IN_MEETING): PageAction.LEAVE_MEETING,
    (BotState.LEAVING, Screen.RECORDING_DENIED): PageAction.LEAVE_MEETING,
}

PageActions = tuple[PageAction | Dismiss, ...]


def decide_page_actions(state: State, popup: str, now: float) -> tuple[State, PageActions]:
    """The actions that are due now, and the state that remembers them. `popup`: the rule of the popup that shows, or
    empty.
    """
    state, dismissed, in_the_way = _put_away(state, popup, now)
    if _is_to_switch_off(state, now):
        return replace(state, switched=state.switched + 1, switched_at=now), (*dismissed, PageAction.SWITCH_OFF)
    if _is_to_open_chat(state, now):
        state = replace(state, chat_opened=state.chat_opened + 1, chat_opened_at=now)
        return state, (*dismissed, PageAction.OPEN_CHAT)
    if in_the_way and state.phase is not BotState.LEAVING:
        return state, dismissed
    if _is_to_load_again(state, now):
        reloads = state.reloads + (state.screen is Screen.REFUSED or is_at_a_loss(state))
        return replace(state, loaded_again_at=now, reloads=reloads, acted_at=None), (*dismissed, PageAction.LOAD_AGAIN)
    action = _ACTION_ON.get((state.phase, state.screen))
    if state.phase is BotState.IN_MEETING and not state.is_returning:
        action = None
    if _is_to_enter_passcode(state):
        action, state = PageAction.ENTER_PASSCODE, replace(state, passcode_at=now)
    elif action is None or not is_believed(state, now) or _is_too_soon(state, now):
        return state, dismissed
    return replace(state, acted_at=now), (*dismissed, action)


def _put_away(state: State, popup: str, now: float) -> tuple[State, PageActions, bool]:
    """The third value: whether the popup keeps the bot from acting on the page beneath it."""
    others = tuple(
        earlier for earlier in state.popups if earlier.name != popup and now - earlier.seen_at < POPUP_GONE_S
    )
    if not popup:
        return (state if others == state.popups else replace(state, popups=others)), (), False
    before = next((earlier for earlier in state.popups if earlier.name == popup), None)
    if before is None or now - before.seen_at >= POPUP_GONE_S:
        before = Popup(popup, 0, now - REPEAT_S, now)
    is_due = before.times < POPUP_TIMES and now - before.dismissed_at >= REPEAT_S
    after = replace(before, seen_at=now)
    if is_due:
        after = replace(after, times=before.times + 1, dismissed_at=now)
    in_the_way = is_due or after.times < POPUP_BLOCKS
    return replace(state, popups=(*others, after)), (Dismiss(popup),) if is_due else (), in_the_way


def _is_to_open_chat(state: State, now: float) -> bool:
    is_due = state.chat_opened_at is None or now - state.chat_opened_at >= CHAT_AGAIN_S
    is_wanted = state.options.reads_chat and state.is_chat_closed and state.chat_opened < CHAT_TIMES
    return state.phase is BotState.IN_MEETING and is_wanted and is_due and is_believed(state, now)


def _is_to_switch_off(state: State, now: float) -> bool:
    """A bot's microphone and camera are off during a call, even if somebody else switched them on."""
    is_due = state.switched_at is None or now - state.switched_at >= REPEAT_S
    return state.phase is BotState.IN_MEETING and state.sends and state.switched < SWITCH_TIMES and is_due


def _is_to_load_again(state: State, now: float) -> bool:
    """Whether to reload the page. Every `again_s` seconds if the rule of the screen says so, also when the last reload
    ended on an unknown page. Once if the page refused the bot, or shows nothing known before it asked for anything.
    Every UNSEEN_S while the lobby has disappeared. Never after the bot was admitted.
    """
    if state.phase.is_admitted:
        return False
    if is_at_a_loss(state):
        return not state.reloads and now - state.since >= state.limits.load_s * LOSS_SHARE
    if state.screen is Screen.REFUSED:
        return not state.reloads and is_believed(state, now)
    if state.unseen_since is not None and now - state.unseen_since >= UNSEEN_S:
        return state.loaded_again_at is None or now - state.loaded_again_at >= UNSEEN_S
    if not state.again_s:
        return False
    if state.screen is state.shown:
        after_s = max(state.again_s, AGAIN_AT_LEAST_S)
    elif state.screen is Screen.UNKNOWN:
        after_s = max(state.again_s, UNKNOWN_GRACE_S)
    else:
        return False
    last = state.shown_since if state.loaded_again_at is None else state.loaded_again_at
    return now - last >= after_s


def is_at_a_loss(state: State) -> bool:
    """Whether the page has loaded, asked for nothing yet, and shows nothing known: perhaps it refuses."""
    has_come = state.screen in (Screen.UNKNOWN, Screen.BLANK) and not state.rule
    return has_come and state.phase is BotState.JOINING and state.prompted_at is None


def _is_too_soon(state: State, now: float) -> bool:
    return state.acted_at is not None and now - state.acted_at < REPEAT_S


def _is_to_enter_passcode(state: State) -> bool:
    """A passcode is asked for before the bot joins. Some pages draw the meeting first and ask then."""
    on_the_way = state.phase in (BotState.JOINING, BotState.WAITING_ROOM) or state.is_returning
    asked_at_once = state.phase is BotState.IN_MEETING and not was_in(state, state.shown_since)
    return (
        state.options.has_passcode
        and state.passcode_at is None
        and state.screen is Screen.PASSCODE_PROMPT
        and (on_the_way or asked_at_once)
    )
