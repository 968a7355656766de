"""Operations that published clients have and poolmgr does not offer: reads answer empty lists, writes answer 501.

So a client learns at once, by a message, that something is not offered.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from poolmgr.api.errors import ApiError, not_offered
from poolmgr.api.operation import Answer, Call, Operation, Says


class Calendars(msgspec.Struct):
    """An empty list of calendars."""

    total: int
    user_id: str
    calendars: list[dict[str, Any]]


class CalendarEvents(msgspec.Struct):
    """An empty page of calendar events."""

    next: str | None
    previous: str | None
    has_more: bool
    results: list[dict[str, Any]]


class AutoSchedule(msgspec.Struct):
    """Whether bots are scheduled by a calendar: never."""

    enabled: bool


class AgentConfigs(msgspec.Struct):
    """An empty list of agent configurations."""

    agent_configs: list[dict[str, Any]]


class LoginDomains(msgspec.Struct):
    """An empty list of Google login domains."""

    google_login_domains: list[dict[str, Any]]


class Logins(msgspec.Struct):
    """An empty list of Google logins."""

    google_logins: list[dict[str, Any]]


class TeamsLoginDomains(msgspec.Struct):
    """An empty list of Teams login domains."""

    teams_login_domains: list[dict[str, Any]]


class TeamsLogins(msgspec.Struct):
    """An empty list of Teams logins."""

    teams_logins: list[dict[str, Any]]


class Connections(msgspec.Struct):
    """An empty list of connections."""

    connections: list[dict[str, Any]]


class Configs(msgspec.Struct):
    """An empty list of configurations."""

    configs: list[dict[str, Any]]


_CALENDARS = "poolmgr has no calendars; schedule a bot with join_at of create_bot."
_AGENTS = "poolmgr has no agents (MIA)."
_ACCOUNTS = "a bot joins as a guest, or with an account of [worker] accounts in the configuration."
_LOGINS = f"poolmgr keeps no logins of yours; {_ACCOUNTS}"
_ZOOM = f"poolmgr keeps no Zoom connections; {_ACCOUNTS}"
_CONFIGS = "poolmgr keeps no storage of yours; its configuration file holds its settings."


def _nothing(body: msgspec.Struct) -> Callable[[Call], Coroutine[Any, Any, Answer]]:
    async def handle(_: Call) -> Answer:
        return Answer(200, body)

    return handle


def _none_such(message: str) -> Callable[[Call], Coroutine[Any, Any, Answer]]:
    async def handle(_: Call) -> Answer:
        raise ApiError(404, message)

    return handle


def _not_here(message: str) -> Callable[[Call], Coroutine[Any, Any, Answer]]:
    async def handle(_: Call) -> Answer:
        raise not_offered(message)

    return handle


_READS: tuple[tuple[str, str, msgspec.Struct], ...] = (
    ("/calendar", "listCalendars", Calendars(0, "", [])),
    ("/calendar/events", "listCalendarEvents", CalendarEvents(None, None, has_more=False, results=[])),
    ("/calendar/auto-schedule/settings", "getAutoSchedule", AutoSchedule(enabled=False)),
    ("/mia", "listAgentConfigs", AgentConfigs([])),
    ("/google-login-domains", "listGoogleLoginDomains", LoginDomains([])),
    ("/google-logins", "listGoogleLogins", Logins([])),
    ("/teams-login-domains", "listTeamsLoginDomains", TeamsLoginDomains([])),
    ("/teams-logins", "listTeamsLogins", TeamsLogins([])),
    ("/zoom/oauth/connections", "listZoomConnections", Connections([])),
    ("/admin/configs", "getConfigs", Configs([])),
)

_SINGLE_READS = (
    ("/google-login-domains/{domain}", "getGoogleLoginDomain", _LOGINS),
    ("/teams-login-domains/{domain}", "getTeamsLoginDomain", _LOGINS),
    ("/zoom/oauth/connections/{zoom_user_id}", "getZoomConnection", _ZOOM),
)

_WRITES = (
    ("POST", "/calendar/create_calendar", "createCalendar", _CALENDARS),
    ("POST", "/calendar/create_outlook_calendar", "createOutlookCalendar", _CALENDARS),
    ("POST", "/calendar/disconnect", "disconnectCalendar", _CALENDARS),
    ("DELETE", "/calendar/disconnect", "disconnectCalendarByDelete", _CALENDARS),
    ("POST", "/calendar/schedule/{event_id}", "scheduleEvent", _CALENDARS),
    ("DELETE", "/calendar/schedule/{event_id}", "unscheduleEvent", _CALENDARS),
    ("POST", "/calendar/toggle-recurrence", "toggleRecurrence", _CALENDARS),
    ("POST", "/calendar/auto-schedule/enable", "enableAutoSchedule", _CALENDARS),
    ("POST", "/calendar/auto-schedule/disable", "disableAutoSchedule", _CALENDARS),
    ("POST", "/mia", "createAgentConfig", _AGENTS),
    ("PUT", "/mia", "updateAgentConfig", _AGENTS),
    ("DELETE", "/mia", "deleteAgentConfig", _AGENTS),
    ("POST", "/google-login-domains", "createGoogleLoginDomain", _LOGINS),
    ("PATCH", "/google-login-domains/{domain}", "updateGoogleLoginDomain", _LOGINS),
    ("DELETE", "/google-login-domains/{domain}", "deleteGoogleLoginDomain", _LOGINS),
    ("POST", "/google-logins", "createGoogleLogin", _LOGINS),
    ("PATCH", "/google-logins/{login_id}", "updateGoogleLogin", _LOGINS),
    ("DELETE", "/google-logins/{login_id}", "deleteGoogleLogin", _LOGINS),
    ("POST", "/teams-login-domains", "createTeamsLoginDomain", _LOGINS),
    ("PATCH", "/teams-login-domains/{domain}", "updateTeamsLoginDomain", _LOGINS),
    ("DELETE", "/teams-login-domains/{domain}", "deleteTeamsLoginDomain", _LOGINS),
    ("POST", "/teams-logins", "createTeamsLogin", _LOGINS),
    ("PATCH", "/teams-logins/{login_id}", "updateTeamsLogin", _LOGINS),
    ("DELETE", "/teams-logins/{login_id}", "deleteTeamsLogin", _LOGINS),
    ("GET", "/zoom/oauth/authorize-url", "getZoomAuthorizeUrl", _ZOOM),
    ("POST", "/zoom/oauth/connections", "createZoomConnection", _ZOOM),
    ("DELETE", "/zoom/oauth/connections/{zoom_user_id}", "deleteZoomConnection", _ZOOM),
    ("PUT", "/admin/configs", "setConfig", _CONFIGS),
    ("DELETE", "/admin/configs", "deleteConfig", _CONFIGS),
)

OPERATIONS = (
    *(
        Operation("GET", path, name, "poolmgr has none of these.", _nothing(body), {200: Says("None.", type(body))})
        for path, name, body in _READS
    ),
    *(
        Operation("GET", path, name, "poolmgr has none of these.", _none_such(why), {404: Says("There is none.")})
        for path, name, why in _SINGLE_READS
    ),
    *(
        Operation(method, path, name, "Not in poolmgr.", _not_here(why), {501: Says("poolmgr does not do this.")})
        for method, path, name, why in _WRITES
    ),
)
