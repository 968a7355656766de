"""What the Debian package would hold, without making it; what its scripts do, with systemd's commands noted down."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lab.systemd.shipped.package import MIRROR_NEEDS

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "deploy/debian"
SCRIPTS = ("postinst", "prerm", "postrm")
UNITS = ("poolmgr.service", "poolmgr-worker.service", "poolmgr-mirror.service")
OF_AN_IMAGE = {"poolmgr-first-boot.service"}


def rows(name: str) -> dict[str, str]:
    """What is taken from where, and where it comes to."""
    return dict(line.split() for line in (DEBIAN / name).read_text().splitlines())


def rules(variable: str) -> str:
    found = re.search(rf"^(?:export )?{variable} = (.+)$", (DEBIAN / "rules").read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_everything_that_it_takes_is_there_and_every_unit_is_taken() -> None:
    taken = rows("install")
    assert [name for name in taken if not list(ROOT.glob(name))] == []
    units = {path.name for path in (ROOT / "systemd").iterdir() if path.suffix in (".service", ".slice", ".target")}
    assert {Path(name).name for name, to in taken.items() if to == "lib/systemd/system"} == units - OF_AN_IMAGE


@pytest.mark.parametrize("unit", UNITS)
def test_the_units_start_what_it_brings_and_point_to_its_documents(unit: str) -> None:
    programs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    text = (ROOT / "systemd" / unit).read_text()
    [started] = re.findall(r"^ExecStart=/(\S+)", text, re.MULTILINE)
    assert started in {f"{rules('VENV')}/bin/{name}" for name in programs}
    assert rows("links")[started] == f"usr/bin/{Path(started).name}"
    [document] = re.findall(r"^Documentation=file:/(\S+)", text, re.MULTILINE)
    assert rows("install")["docs/*.md"] == str(Path(document).parent)


def test_what_the_mirror_needs_is_installed_as_the_readme_says_from_a_lock_that_it_brings() -> None:
    assert MIRROR_NEEDS in (DEBIAN / "README.md").read_text().splitlines()
    lock = Path(MIRROR_NEEDS.split()[-1])
    assert rows("install")[f"requirements/{lock.name}"] == str(lock.parent).lstrip("/")
    assert f"requirements/{lock.name}" in (DEBIAN / "build").read_text()


def test_users_and_folders_come_with_it_and_are_made_by_it() -> None:
    installed = re.findall(
        r"install -D .* (systemd/\S+) debian/poolmgr/usr/lib/(\S+)\.d/(\S+)", (DEBIAN / "rules").read_text()
    )
    postinst = (DEBIAN / "postinst").read_text()
    assert {kind for _, kind, _ in installed} == {"sysusers", "tmpfiles"}
    for source, kind, name in installed:
        assert (ROOT / source).exists()
        assert re.search(rf"systemd-{kind} .*{re.escape(name)}$", postinst, re.MULTILINE)


def test_the_venv_is_where_the_rules_say_that_it_is() -> None:
    assert f"{rules('DH_VIRTUALENV_INSTALL_ROOT')}/".lstrip("/") + "poolmgr/venv" == rules("VENV")
    assert "--install-suffix poolmgr/venv" in (DEBIAN / "rules").read_text()


def test_what_a_worker_needs_is_what_the_steps_by_hand_install() -> None:
    steps = (ROOT / "packer/provision/10-packages.sh").read_text()
    by_hand = set(re.findall(r"\b(fonts-[\w-]+|fontconfig|chromium|xvfb|libatomic1)\b", steps)) - {"chromium-common"}
    control = (DEBIAN / "control").read_text()
    fields = dict(re.findall(r"^(Depends|Recommends|Suggests): (.+)$", control, re.MULTILINE))
    assert by_hand <= {name for names in fields.values() for name in names.split(", ")}


def test_shellcheck_finds_nothing_in_its_scripts() -> None:
    paths = [DEBIAN / name for name in (*SCRIPTS, "build")]
    done = subprocess.run((Path(sys.prefix) / "bin/shellcheck", *paths), capture_output=True, text=True, check=False)
    assert done.stdout == ""


class Machine:
    """A root of its own for the scripts, in which systemd's commands are noted down. `runs`: the units that do."""

    def __init__(self, folder: Path, *runs: str) -> None:
        self.root, self._bin, self._log = folder / "root", folder / "bin", folder / "log"
        for path in (
            self._bin,
            self.root / "etc/poolmgr",
            self.root / "etc/credstore",
            self.root / "usr/share/poolmgr",
        ):
            path.mkdir(parents=True)
        (self.root / "usr/share/poolmgr/config.example.toml").write_text("# of this release\n")
        self._log.touch()
        for name in ("systemctl", "systemd-sysusers", "systemd-tmpfiles"):
            program = self._bin / name
            program.write_text(
                f'#!/bin/sh\necho "{name} $*" >>{self._log}\n'
                f'case "$*" in is-active*) echo " {" ".join(runs)} " | grep -q " ${{3%.service}} " || exit 3 ;; esac\n'
            )
            program.chmod(0o755)

    def run(self, script: str, *arguments: str) -> list[str]:
        """What it had systemd do, and asked nothing."""
        self._log.write_text("")
        # As on a machine that is booted by systemd, whether this one is or not.
        text = (
            (DEBIAN / script)
            .read_text()
            .replace("[ -d /run/systemd/system ]", "true")
            .replace('[ -z "$root" ]', "true")
        )
        done = subprocess.run(
            ("sh", "-c", text, script, *arguments),
            env={"PATH": f"{self._bin}:{os.environ['PATH']}", "DPKG_ROOT": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [
            line for line in self._log.read_text().splitlines() if "is-active" not in line and "daemon-" not in line
        ]


def test_an_installation_starts_nothing_and_gives_a_configuration_to_begin_with(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert [line.split()[0] for line in machine.run("postinst", "configure", "")] == [
        "systemd-sysusers",
        "systemd-tmpfiles",
    ]
    assert (machine.root / "etc/poolmgr/config.toml").read_text() == "# of this release\n"


@pytest.mark.parametrize("runs", [(), ("poolmgr",), ("poolmgr-worker",), UNITS])
def test_an_upgrade_restarts_a_manager_hands_an_agent_over_and_keeps_the_configuration(
    tmp_path: Path, runs: tuple[str, ...]
) -> None:
    machine = Machine(tmp_path, *(name.removesuffix(".service") for name in runs))
    (machine.root / "etc/poolmgr/config.toml").write_text("# ours\n")
    did = [line for line in machine.run("postinst", "configure", "0.1.0-1") if line.startswith("systemctl")]
    agent_runs = any("worker" in name for name in runs)
    assert did == [
        "systemctl try-restart poolmgr.service poolmgr-mirror.service",
        *(["systemctl reload poolmgr-worker.service"] if agent_runs else []),
    ]
    assert (machine.root / "etc/poolmgr/config.toml").read_text() == "# ours\n"
    assert machine.run("prerm", "upgrade", "0.2.0-1") == [], "what runs goes on while its files are replaced"


def test_a_removal_stops_both_and_keeps_what_is_the_operators(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "poolmgr-worker")
    (machine.root / "etc/poolmgr/config.toml").write_text("# ours\n")
    (machine.root / "opt/poolmgr/venv").mkdir(parents=True)
    stopped = "systemctl stop poolmgr-worker.service poolmgr.service poolmgr-mirror.service"
    assert machine.run("prerm", "remove") == [stopped]
    machine.run("postrm", "remove")
    assert not (machine.root / "opt/poolmgr").exists()
    assert (machine.root / "etc/poolmgr/config.toml").exists()


def test_a_purge_leaves_nothing_of_it_and_all_of_others(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for name in ("poolmgr.redis_url", "other.secret"):
        (machine.root / "etc/credstore" / name).write_text("secret")
    (machine.root / "var/lib/poolmgr/workers").mkdir(parents=True)
    for target, names in {"multi-user": (*UNITS, "ssh.service"), "poolmgr": UNITS}.items():
        wants = machine.root / f"etc/systemd/system/{target}.target.wants"
        wants.mkdir(parents=True)
        for name in names:
            (wants / name).symlink_to(f"/lib/systemd/system/{name}")
    machine.run("postrm", "purge")
    left = sorted(path.name for path in machine.root.rglob("*") if path.is_symlink() or path.is_file())
    assert left == ["config.example.toml", "other.secret", "ssh.service"]
    assert not (machine.root / "etc/poolmgr").exists()
    assert not (machine.root / "etc/systemd/system/poolmgr.target.wants").exists()
    assert not (machine.root / "var/lib/poolmgr").exists()
