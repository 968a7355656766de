"""What has to be true of the mirror's unit on a booted system, with a table that moto's server keeps."""

from typing import Any, Final

from common.jobs.record import Record
from common.wire.mirrored import FIELDS
from lab.systemd.amazon import Amazon
from lab.systemd.inside import MIRROR, Inside, throughout, until
from lab.systemd.manual import Section
from lab.systemd.nspawn import Machine
from lab.systemd.report import Report

_SETTLE_S: Final = 60.0
_RESTART_S: Final = 20.0
_SILENT_S: Final = 3.0


class Mirrored:
    def __init__(self, machine: Machine, inside: Inside, amazon: Amazon, report: Report) -> None:
        self._machine = machine
        self._inside = inside
        self._amazon = amazon
        self._report = report

    def run(self, steps: Section, link: str) -> None:
        """Start it by the guide's steps, kill it, and have its table fall silent. `link`: of a meeting with a lobby.
        Raises: FleetError.
        """
        for command in steps.once_booted:
            self._report.line(f"# {command}")
            self._machine.do("sh", "-ec", command)
        self._report.check("it starts, and fills the table", self._equals(), self._seen())
        unit = self._inside.unit(MIRROR)
        good = (unit.active, unit.sub, unit.restarts) == ("active", "running", 0)
        self._report.check("it was started once, and says what it does", good, self._inside.status(MIRROR))
        self._wait_in_lobby("mirrored", link)
        good = self._has("mirrored", "waiting_room")
        self._report.check("the table says of a bot that it waits to be let in", good, self._seen())
        self._machine.do("systemctl", "kill", "-s", "KILL", "--kill-whom=main", MIRROR)
        self._inside.call("bots/mirrored/remove_bot")
        again = until(_RESTART_S, f"{MIRROR} runs again", lambda: self._started_after(unit.main_pid))
        good = self._has("mirrored", "stopped") and self._equals()
        seen = f"{again.restarts} restarts; {self._seen()}"
        self._report.check("killed, it goes on where it was", good, seen)
        self._silent(link)

    def _silent(self, link: str) -> None:
        """A table that answers nothing holds up no bot, and has what happened meanwhile later."""
        before = self._inside.unit(MIRROR)
        self._amazon.fall_silent()
        self._wait_in_lobby("unmirrored", link)
        self._inside.call("bots/unmirrored/remove_bot")
        until(_SETTLE_S, "unmirrored has left", lambda: self._inside.bot("unmirrored").get("status_reason"))
        said = until(_SETTLE_S, "the mirror says so", self._fault)
        self._report.check("a table that answers nothing holds up no bot, and it says so", True, said)
        going_on = throughout(_SILENT_S, lambda: self._inside.unit(MIRROR).main_pid == before.main_pid)
        self._amazon.answer_again()
        good = going_on and self._equals()
        self._report.check("and the same process writes what it missed", good, self._seen())

    def last(self) -> None:
        """After all other checks: the table says what the records say; a stop ends it."""
        self._report.check("the table says what the records say, after all of that", self._equals(), self._seen())
        self._machine.do("systemctl", "stop", MIRROR, timeout_s=40)
        unit = self._inside.unit(MIRROR)
        good = (unit.active, unit.result, unit.exit_code) == ("inactive", "success", 0)
        self._report.check(f"systemctl stop {MIRROR}", good, f"{unit.active}, result {unit.result}")

    def _wait_in_lobby(self, bot_id: str, link: str) -> None:
        self._inside.push(bot_id, link)
        until(_SETTLE_S, f"{bot_id} is in the lobby", lambda: self._inside.bot(bot_id).get("state") == "waiting_room")

    def _started_after(self, pid: int) -> Any:
        unit = self._inside.unit(MIRROR)
        return unit if unit.active == "active" and unit.main_pid not in (0, pid) else None

    def _fault(self) -> str:
        said = self._inside.status(MIRROR)
        return said if "not answer" in said else ""

    def _has(self, bot_id: str, state: str) -> bool:
        until(
            _SETTLE_S, f"{bot_id} is {state} in the table", lambda: self._items().get(bot_id, {}).get("state") == state
        )
        return True

    def _items(self) -> dict[str, dict[str, Any]]:
        return self._amazon.items()

    def _equals(self) -> bool:
        until(_SETTLE_S, "the table says what the records say", lambda: self._table() == self._records())
        return True

    def _table(self) -> dict[str, dict[str, str]]:
        return {
            bot_id: {name: item[name] for name in FIELDS if item.get(name)} for bot_id, item in self._items().items()
        }

    def _records(self) -> dict[str, dict[str, str]]:
        records = {bot_id: Record.from_hash(self._inside.bot(bot_id)).texts() for bot_id in self._inside.all_bots()}
        return {bot_id: {name: said[name] for name in FIELDS if said.get(name)} for bot_id, said in records.items()}

    def _seen(self) -> str:
        return f"{len(self._items())} items; {self._inside.status(MIRROR)}"
