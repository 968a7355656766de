"""What the fleet test's machine needs besides Debian: the wheel, and what the steps leave to the operator."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from lab.systemd import amazon, manual
from lab.systemd.checks import MIN_IDLE
from lab.systemd.inside import Access
from lab.systemd.report import FleetError, Report

CHECKOUT: Final = Path(__file__).resolve().parents[2]
NAME: Final = "poolmgr-fleet"
STEP_S: Final = 600.0


def guide() -> dict[int, manual.Section]:
    """systemd/README.md."""
    return manual.read((CHECKOUT / "systemd" / "README.md").read_text())


def build_wheel(section: manual.Section, source: Path, report: Report) -> None:
    """Run a command in that copy of the checkout, with the environment that `./dev` has set up. Raises: FleetError."""
    environment = os.environ | {"PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"}
    for command in section.commands:
        if command == "./dev setup":
            continue
        report.line(f"$ {command}")
        done = subprocess.run(
            ("sh", "-ec", command.removeprefix("./dev run ")),
            cwd=source,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_S,
            check=False,
        )
        if done.returncode:
            raise FleetError(f"cannot carry out: {command}\n{done.stdout}{done.stderr}")


def configure(root: Path, access: Access) -> None:
    """The configuration's changed lines, what the mirror has of Amazon, and Redis as README.md asks for it."""
    (root / "etc/hostname").write_text(f"{NAME}\n")  # or it has that of this machine
    digest = hashlib.sha256(access.token.encode()).hexdigest()
    (root / "etc/poolmgr/config.toml").write_text(
        f"[pool]\nmin_idle = {MIN_IDLE}\nmax_workers = 6\n"
        f"[mirror]\ntable = '{amazon.TABLE}'\nregion = '{amazon.REGION}'\nendpoint_url = '{amazon.ADDRESS}'\n"
        f"[[api.tokens]]\nname = 'fleet'\nsha256 = '{digest}'\n"
    )
    keys = root / "etc/poolmgr/mirror.environment"
    keys.touch(mode=0o600)
    keys.write_text("".join(f"{name}={value}\n" for name, value in amazon.KEYS.items()))
    (root / "etc/credstore/poolmgr.redis_url").write_text(f"redis://:{access.password}@127.0.0.1:6379/0\n")
    with (root / "etc/redis/redis.conf").open("a") as redis:
        redis.write(f"\nrequirepass {access.password}\nappendonly yes\nmaxmemory-policy noeviction\n")
