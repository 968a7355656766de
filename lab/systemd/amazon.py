"""A stand-in for Amazon on a booted machine's network: moto's server, with a table and a bucket, which may fall silent.

python3 -m lab.systemd.amazon ADDRESS QUESTION [ARGUMENT…]     one question to it, answered as JSON
"""

import importlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from lab.systemd.nspawn import Machine
from lab.systemd.report import FleetError

ADDRESS: Final = "http://127.0.0.1:5000"
REGION: Final = "eu-west-1"
TABLE: Final = "bots"
BUCKET: Final = "recordings"
KEYS: Final = {"AWS_ACCESS_KEY_ID": "fleet", "AWS_SECRET_ACCESS_KEY": "fleet"}

_ASK_S: Final = 60.0


class Amazon:
    """What is asked of it comes over the machine's network, as the programs there ask it."""

    def __init__(self, machine: Machine, process: "subprocess.Popen[bytes]") -> None:
        self._machine = machine
        self._process = process

    def items(self) -> dict[str, dict[str, Any]]:
        """The items of the table by their bot_id, with plain values."""
        return self._ask("items")

    def objects(self) -> list[str]:
        """The names of all objects of the bucket."""
        return self._ask("objects")

    def json_object(self, name: str) -> Any:
        """The object, which holds JSON."""
        return self._ask("json_object", name)

    def fall_silent(self) -> None:
        """It takes connections, and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def answer_again(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def make(self) -> None:
        self._ask("make")

    def _ask(self, *question: str) -> Any:
        command = (sys.executable, "-m", "lab.systemd.amazon", ADDRESS, *question)
        done = self._machine.do_beside(*command, timeout_s=_ASK_S, environment=KEYS)
        return json.loads(done)


@contextmanager
def serving(machine: Machine, log: Path) -> Generator[Amazon]:
    """The table and the bucket are there, and empty. Raises: FleetError."""
    host, port = ADDRESS.removeprefix("http://").split(":")
    # Without the images that Amazon offers, which take seconds to read.
    environment = {**KEYS, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
    command = (sys.executable, "-m", "moto.server", "-H", host, "-p", port)
    with machine.beside(log, *command, environment=environment) as process:
        amazon = Amazon(machine, process)
        amazon.make()
        try:
            yield amazon
        finally:
            amazon.answer_again()  # or it would not end


# In a process of its own


def _client(service: str, address: str) -> Any:
    session: Any = importlib.import_module("botocore.session").get_session()
    config: Any = importlib.import_module("botocore.config").Config(
        retries={"total_max_attempts": 8, "mode": "standard"}, connect_timeout=5, read_timeout=10
    )
    return session.create_client(service, region_name=REGION, endpoint_url=address, config=config)


def _make(address: str) -> None:
    """The first question, for which the server is waited for."""
    _client("dynamodb", address).create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "bot_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "bot_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    _client("s3", address).create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})


def _items(address: str) -> dict[str, dict[str, Any]]:
    answer = _client("dynamodb", address).scan(TableName=TABLE, ConsistentRead=True)
    if "LastEvaluatedKey" in answer:
        raise FleetError("the table has more items than are read here")
    return {
        item["bot_id"]["S"]: {name: next(iter(value.values())) for name, value in item.items()}
        for item in answer["Items"]
    }


def _objects(address: str) -> list[str]:
    return [each["Key"] for each in _client("s3", address).list_objects_v2(Bucket=BUCKET).get("Contents", ())]


def _json_object(address: str, name: str) -> Any:
    return json.loads(_client("s3", address).get_object(Bucket=BUCKET, Key=name)["Body"].read())


_QUESTIONS: Final[dict[str, Callable[..., Any]]] = {
    "make": _make,
    "items": _items,
    "objects": _objects,
    "json_object": _json_object,
}


def main() -> None:
    address, question, *arguments = sys.argv[1:]
    print(json.dumps(_QUESTIONS[question](address, *arguments)))


if __name__ == "__main__":
    main()
