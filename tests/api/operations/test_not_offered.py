"""What poolmgr does not have is answered as its twin is."""

from tests.api.conftest import World


async def test_what_is_there_for_google_is_there_for_teams(world: World) -> None:
    async with world.serving() as call:
        for method, path in (
            *(("GET", "-login-domains"), ("POST", "-login-domains"), ("GET", "-logins"), ("POST", "-logins")),
            *((method, "-login-domains/example.com") for method in ("GET", "PATCH", "DELETE")),
            *((method, "-logins/1") for method in ("PATCH", "DELETE")),
        ):
            google, teams = [await call(method, f"/{name}{path}") for name in ("google", "teams")]
            assert google.status == teams.status != 405
            assert {key.replace("google", "teams"): value for key, value in google.body.items()} == teams.body


async def test_a_calendar_is_disconnected_by_either_method(world: World) -> None:
    async with world.serving() as call:
        posted, deleted = [await call(method, "/calendar/disconnect") for method in ("POST", "DELETE")]
    assert (posted.status, posted.body) == (deleted.status, deleted.body)
    assert posted.status == 501
