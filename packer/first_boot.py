"""What this VM is called: the id that its cloud gave it, as the agent's `worker.vm_id`. Written anew at each boot.

By cloud-init's record of the instance; else by the metadata server, which is asked as Amazon's and as Google's at once:
where there is none, each question may take until its deadline. Where nobody answers it is the machine-id, which is this
VM's own as well. Needs nothing but Python, and is installed as /opt/poolmgr/first-boot.
"""

import json
import os
import re
import sys
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

OUT = Path("/run/poolmgr/first-boot")
CLOUD_INIT = Path("/run/cloud-init/instance-data.json")
MACHINE_ID = Path("/etc/machine-id")
METADATA = "http://169.254.169.254"
DEADLINE_S = 3.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def of_cloud_init(file: Path) -> str:
    """The VM's id that cloud-init has found, on whatever cloud; empty: it is on none."""
    found = json.loads(file.read_text())["v1"]
    return "" if found.get("cloud_name") in (None, "none", "unknown") else str(found["instance_id"])


def of_amazon(server: str) -> str:
    """IMDSv2: by a token, which a request that was smuggled in from a page cannot have."""
    token = ask(f"{server}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, method="PUT")
    return ask(f"{server}/latest/meta-data/instance-id", {"X-aws-ec2-metadata-token": token})


def of_google(server: str) -> str:
    """The name, which is unique in its project and zone; an instance group gives each VM one of its own."""
    return ask(f"{server}/computeMetadata/v1/instance/name", {"Metadata-Flavor": "Google"})


def of_machine(file: Path) -> str:
    return f"vm-{file.read_text().strip()[:12]}"


def ask(address: str, headers: dict[str, str], method: str = "GET") -> str:
    """Never by a proxy. Raises: OSError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(address, headers=headers, method=method)  # noqa: S310  # an address of ours
    with opener.open(request, timeout=DEADLINE_S) as answer:
        return answer.read(4096).decode().strip()


def name(cloud_init: Path, server: str, machine_id: Path) -> tuple[str, str]:
    """The first that is one, and whose word it is. Raises: SystemExit when there is none."""
    if found := tried(lambda: of_cloud_init(cloud_init)):
        return found, "cloud-init"
    with ThreadPoolExecutor() as threads:
        asked = [
            ("Amazon", threads.submit(tried, lambda: of_amazon(server))),
            ("Google", threads.submit(tried, lambda: of_google(server))),
        ]
    for whose, cloud in asked:
        if found := cloud.result():
            return found, whose
    if found := tried(lambda: of_machine(machine_id)):
        return found, "machine-id"
    raise SystemExit("first-boot: this VM has no name: set worker.vm_id in /etc/poolmgr/config.toml")


def tried(asked: Callable[[], str]) -> str:
    """What can be a VM's name; empty: there is none."""
    try:
        found = asked()
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return found if NAME.fullmatch(found) else ""


def main(out: Path = OUT, cloud_init: Path = CLOUD_INIT, server: str = METADATA, machine_id: Path = MACHINE_ID) -> None:
    vm_id, whose = name(cloud_init, server, machine_id)
    new = out.with_suffix(".new")
    new.write_text(f"POOLMGR_WORKER__VM_ID={vm_id}\n")
    os.replace(new, out)
    sys.stdout.write(f"worker.vm_id is {vm_id}, by {whose}\n")


if __name__ == "__main__":
    main()
