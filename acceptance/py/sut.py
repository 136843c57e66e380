"""The server under test for Python clients, and what all of its tests need."""

import json
import os
import queue
import subprocess
import time
import unittest
from pathlib import Path

import engineio

HERE = Path(__file__).resolve().parent.parent
REFERENCE = os.environ.get("SUT") == "reference"
if REFERENCE:
    # The reference sends more packets in a poll answer than this client takes by default.
    engineio.payload.Payload.max_decode_packets = 1000
# Whoever is late is only told so later, and a busy machine makes late.
WAIT_S = 60
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}

BINARY = os.path.join(os.environ.get("TRUNKLINE_BIN_DIR", HERE.parent / "target" / "debug"), "trunkline")

ours = unittest.skipIf(REFERENCE, "rule of Trunkline")


def counts(sqs, url):
    """Messages of a queue that wait, that are in flight, and that are delayed."""
    names = [f"ApproximateNumberOfMessages{what}" for what in ("", "NotVisible", "Delayed")]
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return tuple(int(told[name]) for name in names)


def eventually(fits, what="condition"):
    """Waits until `fits()` is true: for state of a client library that announces no event."""
    deadline = time.monotonic() + WAIT_S
    while not fits():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not in {WAIT_S} s")
        time.sleep(0.01)


class Inbox:
    """Events of one client, by name, in order."""

    def __init__(self, client):
        self.queues = {}
        client.on("*", self._put)

    def _put(self, event, *args):
        self.queues.setdefault(event, queue.Queue()).put(args)

    def next(self, event):
        """The arguments of the next `event`."""
        return self.queues.setdefault(event, queue.Queue()).get(timeout=WAIT_S)

    def count(self, event):
        """How many `event`s wait here."""
        return self.queues.setdefault(event, queue.Queue()).qsize()

    def rest(self, event):
        """The arguments of all `event`s that have arrived."""
        found, left = [], self.queues.setdefault(event, queue.Queue())
        while not left.empty():
            found.append(left.get())
        return found


class ServerCase(unittest.TestCase):
    """A test class with a server of its own; `settings` as in README.md."""

    kind = "acceptance"
    settings = {}

    @classmethod
    def setUpClass(cls):
        arguments = ["node", str(HERE / "lib" / "serve.mjs"), cls.kind, json.dumps(cls.settings)]
        cls.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = cls.process.stdout.readline()
        if not line:
            raise AssertionError("the server did not start")
        cls.server = json.loads(line)
        cls.url = cls.server["url"]

    @classmethod
    def tearDownClass(cls):
        cls.process.stdin.close()
        cls.process.stdout.close()
        cls.process.wait(timeout=20)
