"""Jobs that end the manager that reads them.

No real job is known to do so. So the stage's managers have a reader of jobs that ends the process at a job with the
mark, and records that. Otherwise they are the real managers (`python -m lab.chaos.faults.poisoned`).
"""

import os
import signal
from pathlib import Path
from typing import Final

from common.jobs.job import JobRules, parse_job
from common.jobs.record import Job

MARK: Final = "poison-"
"""The bot ids of such jobs begin with this."""
MOST_ENDS: Final = 3
"""The first manager has a whole batch, so it is unknown which job ended it. Two more managers begin the job alone."""
_FILE: Final = "poisoned"


def deadly(payload: bytes, now: float, rules: JobRules) -> Job:
    """Used in place of the manager's own reader."""
    job = parse_job(payload, now, rules)
    if job.bot_id.startswith(MARK):
        with (Path(os.environ["CHAOS_FOLDER"]) / _FILE).open("a") as file:
            file.write(f"{job.bot_id}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def ends(folder: Path) -> list[str]:
    """The bot ids of the jobs that ended a manager, once for each manager."""
    file = folder / _FILE
    return file.read_text().split() if file.exists() else []
