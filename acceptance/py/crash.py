"""The server is killed, again and again, while clients work; then nothing that was acknowledged may be missing.

    python -m py.crash --binary ../target/release/trunkline --rounds 100 mqtt-1 mqtt-2 socketio queues

Each work has clients that keep their sessions and come back by themselves: of paho-mqtt, or of socket.io-client with connection
state recovery (`lib/recovering.mjs`). The server gets SIGKILL at a random time and is started again on the same port and the
same directory. In the end every message that was acknowledged has come to every subscriber, and at QoS 2 and to clients of
Socket.IO none has come twice. `cargo xtask crash` builds what is needed and runs it.

Of queues `crash_queues.py` says what must hold.
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

import paho.mqtt.client as mqtt
from paho.mqtt.enums import MessageState
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from . import crash_queues
from .killed import START_S, Server

SETTLE_S = 90
EXPIRY_S = 3600
# What waits for a slow client is not dropped within these.
SETTINGS = ["server.shards=2", "server.drain_window_ms=0", "limits.outbox_messages_max=1000000", "limits.outbox_bytes_max=1073741824"]


class Client(mqtt.Client):
    """Keeps its session and comes back by itself."""

    WINDOW = 20

    def __init__(self, server, name, version):
        self.five = version == 5
        options = {} if self.five else {"clean_session": False}
        kind = mqtt.MQTTv5 if self.five else mqtt.MQTTv311
        super().__init__(mqtt.CallbackAPIVersion.VERSION2, name, protocol=kind, **options)
        self.max_inflight_messages_set(self.WINDOW)
        self.reconnect_delay_set(min_delay=0.02, max_delay=0.2)
        self.is_up = threading.Event()
        self.on_connect = self.connected
        self.on_disconnect = lambda *_: self.is_up.clear()
        self.sessions = []
        more = {}
        if self.five:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = EXPIRY_S
            more = {"clean_start": False, "properties": properties}
        self.connect(*server.address, keepalive=30, **more)

    def _messages_reconnect_reset_out(self):
        # After a second attempt to come back paho takes a PUBREL that it has to repeat for a PUBLISH, which is another message.
        for message in self._out_messages.values():
            if message.state == MessageState.MQTT_MS_RESEND_PUBREL:
                message.state = MessageState.MQTT_MS_WAIT_FOR_PUBCOMP
        super()._messages_reconnect_reset_out()

    def connected(self, _client, _data, flags, code, _properties):
        self.sessions.append(flags.session_present)
        if not code.is_failure:
            self.is_up.set()


class Subscriber(Client):
    def __init__(self, server, name, version, qos):
        super().__init__(server, name, version)
        self.came = collections.Counter()
        self.subscribed = threading.Event()
        self.on_subscribe = lambda *_: self.subscribed.set()
        self.on_message = lambda _client, _data, message: self.came.update([message.payload])
        self.loop_start()
        assert self.is_up.wait(START_S), "no connection"
        self.subscribe("crash/#", qos)
        assert self.subscribed.wait(START_S), "no answer to SUBSCRIBE"


class Publisher(Client):
    """Publishes numbers; those it was told are taken are in `acknowledged`."""

    def __init__(self, server, name, version, qos):
        super().__init__(server, name, version)
        self.name, self.qos = name, qos
        self.acknowledged, self.sent, self.lock = [], {}, threading.Condition()
        self.answers = {}
        self.stopping = False
        self.on_publish = self.published
        self.loop_start()
        assert self.is_up.wait(START_S), "no connection"
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        for number in itertools.count():
            with self.lock:
                while len(self.sent) >= self.WINDOW and not self.stopping:
                    self.lock.wait(1)
                if self.stopping:
                    return
            payload = f"{self.name}:{number}".encode()
            # Without the lock: paho calls back while it holds one of its own.
            mid = self.publish(f"crash/{self.name}", payload, self.qos).mid
            with self.lock:
                self.sent[mid] = payload
                self.settle()

    def published(self, _client, _data, mid, code, _properties):
        with self.lock:
            self.answers[mid] = not code.is_failure
            self.settle()
            self.lock.notify()

    def settle(self):
        """An answer may come before its message is noted."""
        for mid in [mid for mid in self.answers if mid in self.sent]:
            payload = self.sent.pop(mid)
            if self.answers.pop(mid):
                self.acknowledged.append(payload)

    def finish(self):
        with self.lock:
            self.stopping = True
            self.lock.notify()
        self.thread.join()
        end = time.monotonic() + SETTLE_S
        while self.sent and time.monotonic() < end:
            time.sleep(0.01)
        assert not self.sent, f"{self.name}: {len(self.sent)} messages are never acknowledged"


def mqtt_work(qos):
    def work(binary, rounds, seed, folder):
        chance = random.Random(seed)
        server = Server(binary, folder, SETTINGS)
        versions = [4, 5]
        subscribers = [Subscriber(server, f"s{at}", versions[at % 2], qos) for at in range(4)]
        publishers = [Publisher(server, f"p{at}", versions[at % 2], qos) for at in range(4)]
        try:
            for turn in range(rounds):
                time.sleep(chance.uniform(0.05, 0.6))
                server.kill()
                server.start()
                taken = sum(len(publisher.acknowledged) for publisher in publishers)
                progress(f"round {turn + 1} of {rounds}, {taken} messages acknowledged")
            time.sleep(0.5)
            for publisher in publishers:
                publisher.finish()
            acknowledged = [payload for publisher in publishers for payload in publisher.acknowledged]
            end = time.monotonic() + SETTLE_S
            missing = {}
            while time.monotonic() < end:
                missing = {s._client_id: lost(acknowledged, s.came) for s in subscribers}
                if not any(missing.values()):
                    break
                time.sleep(0.1)
            for name, payloads in missing.items():
                assert not payloads, f"{name}: {len(payloads)} of {len(acknowledged)} are lost: {payloads[:5]}"
            twice = sum(times > 1 for s in subscribers for times in s.came.values())
            assert qos < 2 or not twice, f"{twice} came twice at QoS 2: {doubles(subscribers)}"
            forgotten = sum(not present for client in subscribers + publishers for present in client.sessions[1:])
            assert not forgotten, f"{forgotten} times a client came back and had no session"
            return f"{len(acknowledged)} acknowledged, 0 lost, {twice} came again"
        finally:
            for client in subscribers + publishers:
                client.stopping = True
                client.disconnect()
                client.loop_stop()
            server.close()

    return work


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


def lost(acknowledged, came):
    return [payload for payload in acknowledged if payload not in came]


def doubles(subscribers):
    return [(s._client_id, payload, times) for s in subscribers for payload, times in s.came.items() if times > 1][:5]


def queue_work(binary, rounds, seed, folder):
    server = Server(binary, folder, SETTINGS)
    try:
        return crash_queues.run(server, rounds, random.Random(seed), progress)
    finally:
        server.close()


WORKS = {"mqtt-1": mqtt_work(1), "mqtt-2": mqtt_work(2), "socketio": socketio_work, "queues": queue_work}


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
