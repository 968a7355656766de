"""Images: templates that Packer takes, steps that are plain and may run again, and nothing secret."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ROOT = Path(__file__).parents[2]
PACKER = ROOT / "packer"
STEPS = sorted((PACKER / "provision").glob("*.sh"))
TARGETS = ("amazon-ebs.image", "googlecompute.image", "qemu.image", "null.tree")

needs_packer = pytest.mark.skipif(not shutil.which("packer"), reason="packer is not installed (apt-get install packer)")


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the qemu target, which reads it while it is validated."""
    path = tmp_path_factory.mktemp("key") / "id"
    private = Ed25519PrivateKey.generate()
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return path


def validated(key: Path, *words: str) -> str:
    """What Packer said of the templates; empty for nothing but what is known."""
    environment = {"CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"}
    done = run("packer", "validate", f"-var=ssh_key={key}", *words, PACKER / "templates", **environment)
    said = done.stdout + done.stderr
    return said if done.returncode else ""


@pytest.mark.long
@needs_packer
@pytest.mark.parametrize("roles", ["manager worker", "worker", "manager"])
def test_packer_takes_the_templates(key: Path, roles: str) -> None:
    assert validated(key, f"-var=roles={roles}") == ""


@needs_packer
@pytest.mark.parametrize(
    "target", [pytest.param(each, marks=() if each == "null.tree" else pytest.mark.long) for each in TARGETS]
)
def test_packer_takes_each_target_alone(key: Path, target: str) -> None:
    assert validated(key, f"-only={target}") == ""


@pytest.mark.long
@needs_packer
def test_versions_can_be_pinned(key: Path) -> None:
    pins = ("-var=chromium_version=156.0.8078.79-1~deb12u1", "-var=google_base_image=debian-12-bookworm-v20261110")
    assert validated(key, *pins) == ""
    assert "no_such_variable" in validated(key, "-var=no_such_variable=1")


def test_the_plugins_that_newer_packers_need_stand_where_the_old_one_does_not_look() -> None:
    assert "required_plugins" in (PACKER / "plugins/plugins.pkr.hcl").read_text()
    assert not [path for path in (PACKER / "templates").iterdir() if "required_plugins" in path.read_text()]


def test_shellcheck_finds_nothing_in_any_script() -> None:
    scripts = [*STEPS, PACKER / "provision/all", PACKER / "bundle", PACKER / "in_tree", PACKER / "make_disk"]
    done = run(Path(sys.prefix) / "bin/shellcheck", *scripts)
    assert done.stdout == ""
    assert all(os.access(script, os.X_OK) for script in scripts)


def test_an_image_is_every_step_in_order() -> None:
    lines = (PACKER / "provision/all").read_text().splitlines()
    called = [line.split("/")[1].split('"')[0] for line in lines if line.startswith('"$here/')]
    assert called == [step.name for step in STEPS]


@pytest.mark.parametrize("step", [step.name for step in STEPS if "$@" in step.read_text()])
def test_a_role_that_there_is_not_is_refused(step: str) -> None:
    text = (PACKER / "provision" / step).read_text()
    assert "exit 2" in text
    assert "no role $role (manager" in text


def test_a_machine_in_use_is_not_cleaned_as_if_it_were_an_image() -> None:
    done = run(PACKER / "provision/90-clean.sh", POOLMGR_IMAGE="")
    assert done.returncode == 2
    assert "POOLMGR_IMAGE=1" in done.stderr


def test_the_bundle_holds_all_that_the_steps_name_and_no_secret(tmp_path: Path) -> None:
    dist = ROOT / "dist"
    made = not dist.exists()
    try:
        if made:
            dist.mkdir()
            (dist / "poolmgr-0-py3-none-any.whl").write_text("no wheel")
        done = run(PACKER / "bundle", tmp_path / "b/bundle.tar")
    finally:
        if made:
            shutil.rmtree(dist)
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "b/bundle.tar") as bundle:
        names = set(bundle.getnames())
    assert {"config.example.toml", "requirements/run.txt", "packer/first_boot.py", "docs/operations.md"} <= names
    assert {f"systemd/{path.name}" for path in (ROOT / "systemd").iterdir()} <= names
    assert {f"packer/provision/{step.name}" for step in STEPS} <= names
    assert not [name for name in names if name.endswith((".pem", ".key", "environment")) or ".git" in name.split("/")]
