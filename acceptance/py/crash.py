"""The server is killed, again and again, while clients work; then nothing that was acknowledged may be missing.

    python -m py.crash --binary ../target/release/trunkline --rounds 100 mqtt-1 mqtt-2 socketio queues webhooks

The server gets SIGKILL at a random time and is started again on the same port and the same directory. `crash_mqtt.py`,
`crash_queues.py` and `crash_webhooks.py` say what their clients do and what must hold. Those of Socket.IO are of socket.io-client with connection state
recovery (`lib/recovering.mjs`); in the end every event that was acknowledged has come to everybody, none twice, and is in the
history. `cargo xtask crash` builds what is needed and runs it.
"""

import argparse
import collections
import http.client
import itertools
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

from . import crash_mqtt, crash_queues, crash_webhooks
from .crash_mqtt import SETTLE_S, lost
from .killed import START_S, Server

# What waits for a slow client is not dropped within these.
SETTINGS = ["server.shards=2", "server.drain_window_ms=0", "limits.outbox_messages_max=1000000", "limits.outbox_bytes_max=1073741824"]


RECOVERING = """
[[socketio.namespace]]
name = "/"
events = "relay"
recovery = "always"

[[channel]]
filter = "main"
history_messages_max = 1000
"""
HISTORY_MAX = 1000
# Of a client that is away for the whole run nothing may be purged.
RECOVERY = ["recovery.messages_max=1000000000", "recovery.bytes_max=1073741824"]


class Recovering:
    """Clients of Socket.IO in a process of their own, and what they tell."""

    def __init__(self, server, count):
        address = "http://{}:{}".format(*server.address)
        command = ["node", "lib/recovering.mjs", address, str(count)]
        here = pathlib.Path(__file__).resolve().parent.parent
        self.process = subprocess.Popen(command, cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.names = [f"c{at}" for at in range(count)]
        self.came = {name: collections.Counter() for name in self.names}
        self.acknowledged, self.connected = [], collections.Counter()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            told = json.loads(line)
            if "came" in told:
                self.came[told["who"]][told["came"]] += 1
            elif "acknowledged" in told:
                self.acknowledged.append(told["acknowledged"])
            elif "connected" in told:
                self.connected[told["connected"]] += 1
            else:
                self.stopped.set()

    def wait_new(self):
        end = time.monotonic() + START_S
        while self.connected["new"] < len(self.names):
            assert time.monotonic() < end, f"not all clients are connected: {self.connected}"
            time.sleep(0.01)

    def stop(self):
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()
        assert self.stopped.wait(SETTLE_S), "events are never acknowledged, or clients do not come back"

    def missing(self, acknowledged):
        """By client: whoever emits an event does not get it."""
        others = {name: [one for one in acknowledged if not one.startswith(f"{name}:")] for name in self.names}
        return {name: lost(others[name], self.came[name]) for name in self.names}


class BackEnd:
    """Publishes numbers through REST, one after the other; those that were answered with 200 are in `acknowledged`."""

    def __init__(self, server):
        self.server, self.acknowledged, self.stopping = server, [], False
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        for number in itertools.count():
            if self.stopping:
                return
            payload = f"rest:{number}"
            try:
                connection = http.client.HTTPConnection(self.server.private, timeout=10)
                body = json.dumps({"channel": "main", "event": "say", "data": payload})
                connection.request("POST", "/v1/messages", body, {"content-type": "application/json"})
                if connection.getresponse().status == 200:
                    self.acknowledged.append(payload)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
            finally:
                connection.close()

    def finish(self):
        self.stopping = True
        self.thread.join()

    def history(self):
        """The newest messages that the channel has kept, each with its position."""
        connection = http.client.HTTPConnection(self.server.private, timeout=10)
        connection.request("GET", f"/v1/messages?channel=main&limit={HISTORY_MAX}")
        items = json.loads(connection.getresponse().read())["items"]
        connection.close()
        return [(item["args"][0], item["position"]) for item in items]


def check_history(kept, acknowledged):
    """Of what was acknowledged it has the newest, without a hole and once; each publisher's in its order."""
    assert len(kept) == min(HISTORY_MAX, max(len(kept), len(acknowledged))), f"the history has {len(kept)} of {len(acknowledged)} messages"
    positions = [position.split("-") for _, position in kept]
    first = int(positions[0][1])
    expected = [[positions[0][0], str(first + at)] for at in range(len(kept))]
    assert positions == expected, f"positions have a hole: {positions}"
    numbers = collections.defaultdict(list)
    for payload, _ in kept:
        name, number = payload.split(":")
        numbers[name].append(int(number))
    for name, found in numbers.items():
        assert all(a < b for a, b in zip(found, found[1:])), f"those of {name} are out of order: {found}"
    for payload in acknowledged:
        name, number = payload.split(":")
        # Older ones have gone, of this publisher or altogether.
        is_due = len(kept) < HISTORY_MAX or int(number) >= min(numbers[name], default=int(number) + 1)
        assert not is_due or int(number) in numbers[name], f"{payload} is not in the history"


def socketio_work(binary, rounds, seed, folder):
    chance = random.Random(seed)
    server = Server(binary, folder, SETTINGS + RECOVERY, RECOVERING)
    clients, back_end = Recovering(server, 4), None
    try:
        clients.wait_new()
        back_end = BackEnd(server)
        for turn in range(rounds):
            time.sleep(chance.uniform(0.05, 0.6))
            server.kill()
            server.start()
            taken = len(clients.acknowledged) + len(back_end.acknowledged)
            progress(f"round {turn + 1} of {rounds}, {taken} events acknowledged")
        time.sleep(0.5)
        clients.stop()
        back_end.finish()
        acknowledged = clients.acknowledged + back_end.acknowledged
        end = time.monotonic() + SETTLE_S
        while any(clients.missing(acknowledged).values()) and time.monotonic() < end:
            time.sleep(0.1)
        for name, payloads in clients.missing(acknowledged).items():
            assert not payloads, f"{name}: {len(payloads)} of {len(acknowledged)} are lost: {payloads[:5]}"
        twice = [(name, one) for name, came in clients.came.items() for one, times in came.items() if times > 1]
        assert not twice, f"{len(twice)} came twice: {twice[:5]}"
        assert not clients.connected["lost"], f"sessions were not recovered: {clients.connected}"
        check_history(back_end.history(), acknowledged)
        return f"{len(acknowledged)} acknowledged, 0 lost, 0 came twice, {clients.connected['recovered']} times recovered"
    finally:
        clients.process.kill()
        if back_end:
            back_end.finish()
        server.close()


def of(run, config="", **more):
    """A work that runs beside its own server."""

    def work(binary, rounds, seed, folder):
        server = Server(binary, folder, SETTINGS, config)
        try:
            return run(server, rounds=rounds, chance=random.Random(seed), progress=progress, **more)
        finally:
            server.close()

    return work


def webhooks_work(binary, rounds, seed, folder):
    """With a back end that is there before the server."""

    def start(config):
        return Server(binary, folder, SETTINGS, config, word="serve")

    return crash_webhooks.run(start, rounds, random.Random(seed), progress)


WORKS = {
    "mqtt-1": of(crash_mqtt.run, qos=1),
    "mqtt-2": of(crash_mqtt.run, qos=2),
    "socketio": socketio_work,
    "queues": of(crash_queues.run, crash_queues.BOUND),
    "webhooks": webhooks_work,
}


def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)


def run(name, binary, rounds, seed):
    with tempfile.TemporaryDirectory() as folder:
        try:
            return WORKS[name](binary, rounds, seed, folder)
        except BaseException:
            print((pathlib.Path(folder) / "log").read_text()[-4000:], file=sys.stderr)
            raise


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("works", nargs="*", default=list(WORKS), help=f"of {', '.join(WORKS)}; all of them")
    parser.add_argument("--binary", required=True, help="the trunkline program")
    parser.add_argument("--rounds", type=int, default=100, help="times that the server is killed")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the times between")
    chosen = parser.parse_args()
    for name in chosen.works:
        begin = time.monotonic()
        print(f"{name}, {chosen.rounds} rounds, --seed {chosen.seed}", flush=True)
        told = run(name, chosen.binary, chosen.rounds, chosen.seed)
        progress("")
        print(f"  {told}, {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
