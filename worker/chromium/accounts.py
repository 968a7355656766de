"""Accounts that bots join with. Each account of `worker.accounts` is used by one bot of the fleet at a time.

A lock in Redis holds the account for a bot. It is renewed while the bot is in its meeting, given back at the end, and
expires some time after a VM died. The lock keeps a platform from seeing one person twice. It never costs a bot its
meeting: without a free account, or without an answer of Redis, a bot joins as a guest; a bot that loses its lock stays.
"""

import asyncio
import stat
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol, cast

import msgspec
import structlog
from playwright.async_api import BrowserContext

from common.config.settings import AccountSettings
from common.errors import AgentError
from common.wire.messages import Join
from common.wire.vocabulary import Reason
from worker.chromium.driver import PAGE_ERRORS

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LIFE_S: Final = 60.0  # of a lock: longer than an agent's restart, so that an adopted bot keeps its account
RENEW_S: Final = LIFE_S / 4
SIGN_IN_DEADLINE_S: Final = 2.0
LOCKED_OUT: Final = frozenset({Reason.SIGN_IN_REQUIRED, Reason.CAPTCHA})
"""How a bot ends whose platform does not take its account any more: signed out, or locked."""

# Runs before the page's own scripts. It adds only what is missing: later the storage belongs to the page.
_STORAGE: Final = """((origins) => {
  for (const [name, value] of origins[location.origin] ?? [])
    if (localStorage.getItem(name) === null) localStorage.setItem(name, value);
})(%s)"""


class AccountError(AgentError):
    """An account cannot be used; the message names it and says what to do."""


class Lock(Protocol):
    async def hold(self, name: str, holder: str, life_s: float) -> bool | None:
        """Take or renew the lock for `life_s` from now. Returns whether the holder has it; None: Redis does not
        answer.
        """
        ...

    async def let_go(self, name: str, holder: str) -> None:
        """Give the lock back; without an answer of Redis it ends when its life is over."""
        ...


class _Entry(msgspec.Struct):
    name: str
    value: str


class _Origin(msgspec.Struct):
    origin: str
    entries: list[_Entry] = msgspec.field(name="localStorage", default_factory=list[_Entry])


class _State(msgspec.Struct):
    """What Playwright's `storageState` writes: https://playwright.dev/docs/auth."""

    cookies: list[dict[str, Any]]
    origins: list[_Origin] = []

    @property
    def lasts_until(self) -> float | None:
        """When the last of its cookies expires (epoch seconds). From then on, or earlier, the account cannot sign in.
        None: no cookie has a date.
        """
        ends = [end for cookie in self.cookies if isinstance(end := cookie.get("expires"), int | float) and end > 0]
        return max(ends, default=None)


class Health(msgspec.Struct, frozen=True):
    """How an account fares. `lasts_until`: when the last of its cookies expires, epoch seconds; 0: its file cannot be
    used; None: no cookie has a date. `refused`: whether the platform did not take the latest bot that could tell.
    """

    lasts_until: float | None
    refused: bool


class Accounts:
    """The accounts of one agent. `vm_id` makes the names of lock holders unique in the fleet."""

    def __init__(self, accounts: Sequence[AccountSettings], vm_id: str, lock: Lock) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._vm_id = vm_id
        self._lock = lock
        self._refused: set[str] = set()
        self._lasts: dict[str, tuple[int, float | None]] = {}  # by name: its file's time of change, and what it said

    def fared(self, join: Join, reason: Reason, *, was_let_in: bool) -> None:
        """Note how a bot's attempt ended. `was_let_in`: it got as far as the lobby, at least."""
        if not join.account:
            return
        if reason in LOCKED_OUT:
            log.warning("account_refused", account=join.account, bot_id=join.bot_id, reason=reason)
            self._refused.add(join.account)
        elif was_let_in:
            self._refused.discard(join.account)

    def health(self) -> dict[str, Health]:
        return {name: Health(self._lasts_until(name), name in self._refused) for name in self._accounts}

    def _lasts_until(self, name: str) -> float | None:
        account = self._accounts[name]
        try:
            changed = Path(account.state_file).stat().st_mtime_ns
            if self._lasts.get(name, (0, None))[0] != changed:
                self._lasts[name] = changed, read(account).lasts_until
        except (OSError, AccountError):
            return 0.0
        return self._lasts[name][1]

    async def take(self, join: Join) -> str:
        """Take a free account of the job's platform for this bot. Returns its name; empty: none is free."""
        names = [account.name for account in self._accounts.values() if account.platform == join.platform]
        for name in names:
            held = await self._lock.hold(name, self._holder(join), LIFE_S)
            if held:
                log.info("account_taken", account=name, bot_id=join.bot_id)
                return name
            if held is None:
                break
        if names:
            log.info("account_not_free", platform=join.platform, bot_id=join.bot_id)
        return ""

    async def sign_in(self, context: BrowserContext, name: str) -> bool:
        """Give the account's cookies and storage to the browser. Returns whether that worked."""
        try:
            state = await asyncio.to_thread(read, self._accounts[name])
            async with asyncio.timeout(SIGN_IN_DEADLINE_S):
                await context.add_cookies(cast("Any", state.cookies))
                origins = {each.origin: [(entry.name, entry.value) for entry in each.entries] for each in state.origins}
                await context.add_init_script(_STORAGE % msgspec.json.encode(origins).decode())
        except AccountError as error:
            log.error("account_unusable", account=name, why=str(error))
        except (TimeoutError, *PAGE_ERRORS) as error:  # their text may quote a cookie
            log.error("account_unusable", account=name, why=f"the browser refuses it: {type(error).__name__}")
        else:
            return True
        return False

    async def still_has(self, join: Join) -> bool:
        """Renew the lock of the bot's account before that is used, after a wait. Returns whether the bot has it for
        certain.
        """
        has_it = await self._lock.hold(join.account, self._holder(join), LIFE_S)
        if not has_it:
            why = "Redis does not answer" if has_it is None else "another bot has it"
            log.warning("account_lost", account=join.account, bot_id=join.bot_id, why=why)
        return has_it is True

    async def give_back(self, join: Join) -> None:
        await self._lock.let_go(join.account, self._holder(join))

    @asynccontextmanager
    async def held(self, join: Join) -> AsyncGenerator[None]:
        """Renew the lock of the bot's account, if it has one, and give it back at the end. If the task is cancelled,
        the lock is kept for the next agent.
        """
        if not join.account:
            yield
            return
        async with asyncio.TaskGroup() as tasks:
            renewing = tasks.create_task(self._renew(join), name=f"account of {join.bot_id}")
            yield
            renewing.cancel()
        await self.give_back(join)

    async def _renew(self, join: Join) -> None:
        while True:
            if await self._lock.hold(join.account, self._holder(join), LIFE_S) is False:
                log.warning("account_lost", account=join.account, bot_id=join.bot_id, why="another bot has it")
                return
            await asyncio.sleep(RENEW_S)

    def _holder(self, join: Join) -> str:
        return f"{self._vm_id}:{join.bot_id}:{join.attempt}"


class _NoLock:
    async def hold(self, name: str, holder: str, life_s: float) -> bool | None:
        return None

    async def let_go(self, name: str, holder: str) -> None:
        pass


GUESTS: Final = Accounts((), "", _NoLock())
"""No accounts: all bots join as guests."""


def read(account: AccountSettings) -> _State:
    """The cookies and storage in the account's state file. Raises: AccountError."""
    file = Path(account.state_file)
    where = f"worker.accounts: {account.name!r}, state_file {str(file)!r}"
    try:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise AccountError(f"{where}: others may read it; make it the agent's own (chmod 600)")
        return msgspec.json.decode(file.read_bytes(), type=_State)
    except OSError as error:
        make_one = f"`poolmgr-worker sign-in {account.name}` makes one"
        raise AccountError(f"{where}: cannot be read: {error.strerror}; {make_one}") from error
    except msgspec.DecodeError as error:
        raise AccountError(f"{where}: is no storage state of Playwright: {type(error).__name__}") from error
