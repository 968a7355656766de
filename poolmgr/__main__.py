"""The program `poolmgr`."""

from common.runtime import collector, core_dumps
from poolmgr.cli.root import PROGRAM, cli


def main() -> None:
    core_dumps.forbid()
    collector.hold()  # until the command's module is imported: see with_session
    cli(prog_name=PROGRAM)


if __name__ == "__main__":
    main()
