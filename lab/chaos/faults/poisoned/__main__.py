"""A manager that ends when it reads a marked job."""

from lab.chaos.faults.poisoned import deadly
from poolmgr import __main__ as real
from poolmgr.loops import intake


def main() -> None:
    intake.parse_job = deadly
    real.main()


if __name__ == "__main__":
    main()
