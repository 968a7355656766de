"""What a VM is called, by whichever cloud it is in: asked of servers on this machine."""

import importlib.util
import json
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from tests.waiting import PATIENCE_S

SCRIPT = Path(__file__).parents[2] / "packer/first_boot.py"


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("first_boot", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


first_boot = _load()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """With a cloud of a busy machine."""
    monkeypatch.setattr(first_boot, "DEADLINE_S", PATIENCE_S)


class _Amazon(BaseHTTPRequestHandler):
    """As IMDSv2 answers: nothing without a token."""

    def do_PUT(self) -> None:
        asked = self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._answer("a-token" if self.path == "/latest/api/token" and asked else None)

    def do_GET(self) -> None:
        let_in = self.headers["X-aws-ec2-metadata-token"] == "a-token"
        self._answer("i-0abc123" if let_in and self.path == "/latest/meta-data/instance-id" else None)

    def _answer(self, text: str | None) -> None:
        self.send_response(200 if text else 401)
        self.end_headers()
        self.wfile.write((text or "").encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Google(_Amazon):
    def do_PUT(self) -> None:
        self._answer(None)

    def do_GET(self) -> None:
        let_in = self.headers["Metadata-Flavor"] == "Google"
        self._answer("workers-x1z9" if let_in and self.path == "/computeMetadata/v1/instance/name" else None)


class _Odd(_Google):
    """A proxy, say, that answers everything."""

    def do_PUT(self) -> None:
        self._answer("<html>")

    def do_GET(self) -> None:
        self._answer("<html>\nVM_ID=x")


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def written(folder: Path, server: str, instance: object = None, machine_id: str = "0123456789abcdef0123") -> str:
    """The file that the agent's unit reads."""
    cloud_init, id_file, out = folder / "instance-data.json", folder / "machine-id", folder / "first-boot"
    if instance is not None:
        cloud_init.write_text(json.dumps(instance) if isinstance(instance, dict) else str(instance))
    id_file.write_text(f"{machine_id}\n")
    first_boot.main(out, cloud_init, server, id_file)
    return out.read_text()


NOBODY = "http://127.0.0.1:1"


def test_cloud_init_is_believed_first(tmp_path: Path) -> None:
    record = {"v1": {"cloud_name": "aws", "instance_id": "i-0fff"}}
    assert written(tmp_path, NOBODY, record) == "POOLMGR_WORKER__VM_ID=i-0fff\n"


@pytest.mark.parametrize(
    ("handler", "name"), [(_Amazon, "i-0abc123"), (_Google, "workers-x1z9"), (_Odd, "vm-0123456789ab")]
)
def test_then_the_metadata_server(tmp_path: Path, handler: type[BaseHTTPRequestHandler], name: str) -> None:
    with serving(handler) as server:
        assert written(tmp_path, server) == f"POOLMGR_WORKER__VM_ID={name}\n"


def test_both_clouds_are_asked_at_once(tmp_path: Path) -> None:
    both = Barrier(2, timeout=PATIENCE_S)

    class Waiting(_Google):
        """Answers nobody before it was asked as either cloud's."""

        def do_PUT(self) -> None:
            both.wait()
            super().do_PUT()

        def do_GET(self) -> None:
            both.wait()
            super().do_GET()

    with serving(Waiting) as server:
        assert written(tmp_path, server) == "POOLMGR_WORKER__VM_ID=workers-x1z9\n"


@pytest.mark.parametrize("instance", [{"v1": {"cloud_name": "none", "instance_id": "iid-local01"}}, {}, "{", "[]"])
def test_where_there_is_no_cloud_it_is_the_machine_id(tmp_path: Path, instance: object) -> None:
    assert written(tmp_path, NOBODY, instance) == "POOLMGR_WORKER__VM_ID=vm-0123456789ab\n"


def test_a_vm_without_any_name_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(SystemExit, match=r"set worker\.vm_id"):
        first_boot.name(tmp_path / "none/a", NOBODY, tmp_path / "none/b")
