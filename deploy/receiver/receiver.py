"""An example receiver of poolmgr's webhooks: checks who sent them, takes each once, keeps what became of each bot.

    WEBHOOK_SECRETS="whsec_..." python3 receiver.py --listen 127.0.0.1:9000 --database bots.sqlite3

Only the standard library. A webhook is answered with 204 when its effect is on the disk, and not before: whatever goes
wrong in between, it comes again. POST /webhooks takes them, GET /bots/BOT_ID shows what is known.
"""

import argparse
import base64
import hashlib
import hmac
import json
import logging
import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 20
TOLERANCE_S = 300
"""How far the sender's clock and ours may be apart: what was recorded and is sent again later is refused."""

_log = logging.getLogger("receiver")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (webhook_id TEXT PRIMARY KEY, received_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS bots (
    bot_id TEXT PRIMARY KEY,
    status TEXT NOT NULL DEFAULT '',
    bot_event TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    changed_at TEXT NOT NULL DEFAULT '',
    audio_webhook_received INTEGER NOT NULL DEFAULT 0,
    transcript_webhook_received INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0
);
"""


class NotSignedError(Exception):
    """No secret of ours signed the message, or it came too late."""


def verify(headers: Mapping[str, str], body: bytes, secrets: list[str], now: float) -> str:
    """The webhook's id. Raises: NotSignedError. Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`."""
    webhook_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not webhook_id or not sent_at.isdecimal() or abs(now - int(sent_at)) > TOLERANCE_S:
        raise NotSignedError("no id, or the time it was sent is too far from ours")
    content = f"{webhook_id}.{sent_at}.".encode() + body
    given = [part.removeprefix("v1,").encode() for part in headers.get("webhook-signature", "").split(" ")]
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())
        if any(hmac.compare_digest(expected, signature) for signature in given):
            return webhook_id
    raise NotSignedError("no signature is by a secret of ours")


class Database:
    """Opened for each use: threads share nothing, and SQLite lets one of them write at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(self._open()) as connection, connection:
            connection.executescript(_SCHEMA)

    def take(self, webhook_id: str, webhook: Mapping[str, Any], now: float) -> bool:
        """Make its effect durable, together with the note that it was taken. False if it had been taken before."""
        with closing(self._open()) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            seen = "INSERT OR IGNORE INTO seen VALUES (?, ?)"
            if not connection.execute(seen, (webhook_id, now)).rowcount:
                return False
            _apply(connection, webhook)
        return True

    def bot(self, bot_id: str) -> dict[str, Any] | None:
        with closing(self._open()) as connection:
            row = connection.execute("SELECT * FROM bots WHERE bot_id = ?", (bot_id,)).fetchone()
        return dict(row) if row else None

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        connection.row_factory = sqlite3.Row
        return connection


def _apply(connection: sqlite3.Connection, webhook: Mapping[str, Any]) -> None:
    """What a webhook changes. Those of one bot come in order, so the last one is how things are."""
    bot_id, event = str(webhook["bot_id"]), str(webhook["event"])
    if event == "data_deletion":
        connection.execute("DELETE FROM bots WHERE bot_id = ?", (bot_id,))
        return
    connection.execute("INSERT OR IGNORE INTO bots (bot_id) VALUES (?)", (bot_id,))
    if event == "bot.done":
        connection.execute("UPDATE bots SET done = 1 WHERE bot_id = ?", (bot_id,))
    elif event.startswith("bot."):
        facts = (webhook["bot_status"], webhook["bot_event"], webhook.get("reason", ""), webhook["timestamp"], bot_id)
        connection.execute(
            "UPDATE bots SET status = ?, bot_event = ?, reason = ?, changed_at = ? WHERE bot_id = ?", facts
        )
    elif event == "audio.processed":
        connection.execute("UPDATE bots SET audio_webhook_received = 1 WHERE bot_id = ?", (bot_id,))
    elif event == "transcription.processed":
        connection.execute("UPDATE bots SET transcript_webhook_received = 1 WHERE bot_id = ?", (bot_id,))


class Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], database: Database, secrets: list[str]) -> None:
        super().__init__(address, Handler)
        self.database = database
        self.secrets = secrets


class Handler(BaseHTTPRequestHandler):
    server: Receiver  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = 10  # a client that says nothing for so long is hung up on

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != "/webhooks":
            return self._answer(404, {"message": "POST /webhooks"})
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return self._answer(413, {"message": f"say a Content-Length of at most {MOST_BYTES}"})
        body, now = self.rfile.read(int(length)), time.time()
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            webhook_id = verify(headers, body, self.server.secrets, now)
        except NotSignedError as error:
            return self._answer(401, {"message": str(error)})
        webhook = json.loads(body)
        is_new = self.server.database.take(webhook_id, webhook, now)
        _log.info("%s %s %s", webhook["bot_id"], webhook["event"], "taken" if is_new else "came again")
        return self._answer(204)

    def do_GET(self) -> None:
        _, found, bot_id = self.path.partition("/bots/")
        bot = self.server.database.bot(bot_id) if found else None
        return self._answer(200, bot) if bot else self._answer(404, {"message": "GET /bots/BOT_ID: there is none"})

    def _answer(self, status: int, document: Mapping[str, Any] | None = None) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)


def main() -> None:
    parser = argparse.ArgumentParser(description="Takes poolmgr's webhooks into an SQLite file.")
    parser.add_argument("--listen", default="127.0.0.1:9000", metavar="HOST:PORT")
    parser.add_argument("--database", type=Path, default=Path("bots.sqlite3"), metavar="FILE")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    secrets = os.environ.get("WEBHOOK_SECRETS", "").split()
    if not secrets:
        parser.error("set WEBHOOK_SECRETS to the secrets of [webhooks] secrets, separated by spaces")
    host, _, port = arguments.listen.rpartition(":")
    with Receiver((host, int(port)), Database(arguments.database), secrets) as receiver:
        _log.info("takes webhooks at http://%s:%d/webhooks", *receiver.server_address[:2])
        receiver.serve_forever()


if __name__ == "__main__":
    main()
