"""A JavaScript engine can read every file of JavaScript: the Node.js that comes with Playwright's driver does."""

import json
import subprocess
from pathlib import Path
from typing import Final

from playwright._impl._driver import compute_driver_executable

from tests.waiting import PATIENCE_S

ROOT: Final = Path(__file__).parents[1]
CHECK: Final = """
const { Script, SourceTextModule } = require("node:vm");
const faults = {};
for (const file of process.argv.slice(1)) {
  const text = require("node:fs").readFileSync(file, "utf8");
  try {
    if (/^(import|export) /m.test(text)) new SourceTextModule(text);
    else new Script(text);
  } catch (error) {
    faults[file] = String(error);
  }
}
console.log(JSON.stringify(faults));
"""


def faults_of(*files: Path) -> dict[str, str]:
    node, options = compute_driver_executable()[0], ("--no-warnings", "--experimental-vm-modules", "-e", CHECK, "--")
    return json.loads(
        subprocess.run([node, *options, *files], capture_output=True, check=True, timeout=PATIENCE_S).stdout
    )


def test_every_script_can_be_read() -> None:
    files = [path for room in ("worker", "poolmgr", "lab") for path in (ROOT / room).rglob("*.js")]
    assert ROOT / "worker" / "platforms" / "jitsi" / "facts.js" in files
    assert faults_of(*files) == {}


def test_a_slip_of_the_pen_is_found(tmp_path: Path) -> None:
    slip = tmp_path / "slip.js"
    slip.write_text("() => { return { a: 1 ; }")
    assert "SyntaxError" in faults_of(slip)[str(slip)]
