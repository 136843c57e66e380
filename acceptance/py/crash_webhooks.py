"""Webhooks while the back end is bad and the server is killed.

Clients of python-socketio connect, send events with and without acknowledgement, and disconnect; those of paho-mqtt come and go, to
their sessions or to new ones. The back end (`crash_back_end.py`) is killed, slow, answers garbage, redirects or fails half of the time.
In each round the server is killed in the middle of that. Then the back end is well again, everybody rests, and this must hold:

- No client was turned away or lost its connection but by the kill; whoever asked had an answer, or none, in time.
- What had to be told has been: all that waits in the outbox, and all that was sent to a server that lives on; once or more, by its id.
- Of each session it came in order, and nobody was let in without a yes.
- Those that the back end holds for connected are those that are.
- No more requests were under way than the configuration has.

`crash.py` has the server.
"""

import base64
import collections
import json
import pathlib
import random
import socket
import subprocess
import sys
import threading
import time

import paho.mqtt.client as mqtt
import requests
import socketio
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from .crash_ledger import Ledger
from .crash_mqtt import SETTLE_S
from .killed import START_S

SECRET = "whsec_" + base64.b64encode(b"not so secret, but long enough..").decode()
NAMES = ["app", "queued", "phones"]
CONCURRENCY = 4
ANSWER_S = 1
# Beyond the server's own bound, on a machine that does other things.
SLACK_S = 4
WAYS = ["killed", "slow", "garbage", "redirect", "half", "well"]

HEAD = """
[auth]
mode = "back_end"
[[socketio.namespace]]
name = "/"
recovery = "opt_in"
[[socketio.namespace]]
name = "/queued"
recovery = "opt_in"
"""
WEBHOOK = """
[[webhook]]
name = "{name}"
url = "http://127.0.0.1:{port}/{name}"
secrets = ["{secret}"]
types = ["session.connect", "session.event", "session.connected", "session.disconnected", "session.ended"]
{whose}
event_without_answer = "{without}"
concurrency = {concurrency}
timeout_ms = {answer_ms}
delivery_timeout_ms = {answer_ms}
breaker_failures = 5
breaker_pause_ms = 50
retry_ms_min = 20
retry_ms_max = 200
"""


def config(port):
    """In `/` an event that is not answered has no acknowledgement; in `/queued` it has one once it waits in the outbox."""
    common = {"port": port, "secret": SECRET, "concurrency": CONCURRENCY, "answer_ms": ANSWER_S * 1000}
    app = WEBHOOK.format(name="app", whose='namespaces = ["/"]', without="retry", **common)
    queued = WEBHOOK.format(name="queued", whose='namespaces = ["/queued"]', without="queue", **common)
    return HEAD + app + queued + WEBHOOK.format(name="phones", whose='protocols = ["mqtt"]', without="retry", **common)


class BackEnd:
    """The back end's process, and the port that is its own while it is dead."""

    def __init__(self, ledger, chance):
        self.ledger, self.chance = ledger, chance
        self.holder = socket.socket()
        self.holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.holder.bind(("127.0.0.1", 0))
        self.port, self.process = self.holder.getsockname()[1], None
        self.turn("well")

    def turn(self, way):
        """Returns when it is so."""
        if way == "killed":
            return self.kill()
        if self.process is None:
            self.start()
        self.agreed.clear()
        self.process.stdin.write(f"{way}\n")
        self.process.stdin.flush()
        assert self.agreed.wait(START_S), "the back end does not answer"

    def start(self):
        words = [str(word) for word in (self.port, SECRET, CONCURRENCY, self.chance.randrange(1 << 32))]
        command = [sys.executable, "-m", "py.crash_back_end", *words]
        here = pathlib.Path(__file__).resolve().parent.parent
        self.process = subprocess.Popen(command, cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.agreed = threading.Event()
        self.reader = threading.Thread(target=self.listen, args=(self.process, self.agreed), daemon=True)
        self.reader.start()
        assert self.agreed.wait(START_S), "the back end does not start"

    def listen(self, process, agreed):
        for line in process.stdout:
            told = json.loads(line)
            if "came" in told:
                self.ledger.came(told["came"], told["taken"])
            elif "fault" in told:
                self.ledger.faults.append(told["fault"])
            else:
                agreed.set()

    def kill(self):
        """What it has told is in the ledger then."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process = None

    def close(self):
        self.kill()
        self.holder.close()


class World:
    """What clients have to know of the rest: which life of the server this is, and whether they are to work."""

    def __init__(self, server, ledger):
        self.server, self.ledger = server, ledger
        self.lock, self.lives, self.is_dying = threading.Lock(), 0, False
        self.resting, self.stopping = threading.Event(), False
        self.clients = []

    def kill(self):
        with self.lock:
            self.is_dying = True
        self.server.kill()
        with self.lock:
            self.lives, self.is_dying = self.lives + 1, False
            for client in self.clients:
                client.struck()

    def waiting(self):
        """Events that the server has and nobody has heard."""
        items = requests.get(f"http://{self.server.private}/v1/webhooks", timeout=10).json()["items"]
        return sum(item.get("queued", 0) for item in items)

    def is_alive(self, life):
        with self.lock:
            return life == self.lives and not self.is_dying


class Connection(socketio.Client):
    """One connection, which is not mended; knows its session and what would recover it."""

    def __init__(self, world, namespace, former):
        super().__init__(reconnection=False)
        self.world, self.namespace, self.former = world, namespace, former
        self.pid = self.joined = self.reason = None
        self.on("disconnect", lambda reason: setattr(self, "reason", reason), namespace=namespace)
        with world.lock:
            self.life = world.lives

    def _handle_connect(self, namespace, data):
        # The library forgets its session with the connection.
        super()._handle_connect(namespace, data)
        self.pid, self.joined = data.get("pid"), data["sid"]

    def is_open(self):
        """Until it ends, or its session does."""
        return self.eio.state == "connected" and (not self.joined or self.namespace in self.namespaces)

    def join(self, recovers):
        """True once it is let in. That, or its end, comes in time."""
        auth = {"csr": True} if recovers else {}
        if self.former:
            auth |= {"pid": self.former, "offset": ""}
        address = "http://{}:{}".format(*self.world.server.address)
        try:
            self.connect(address, auth=auth, namespaces=[self.namespace], transports=["websocket"], wait=False)
        except socketio.exceptions.ConnectionError:
            return False
        end = time.monotonic() + ANSWER_S + SLACK_S
        # Nothing is called when a connection that has not joined yet is closed.
        while not self.joined and not self.failed_namespaces and self.is_open() and time.monotonic() < end:
            time.sleep(0.005)
        if self.failed_namespaces:
            self.world.ledger.faults.append(f"a client was turned away from {self.namespace}")
        elif not self.joined and self.is_open() and self.world.is_alive(self.life):
            self.world.ledger.faults.append(f"a client of {self.namespace} waits to be let in")
        return self.joined is not None

    def ask(self, payload):
        """The arguments of the acknowledgement; None when there is none in time."""
        answered, values = threading.Event(), []

        def answer(*args):
            values.append(args)
            answered.set()

        try:
            self.emit("ask", payload, namespace=self.namespace, callback=answer)
        except socketio.exceptions.SocketIOError:
            return None
        end = time.monotonic() + ANSWER_S + SLACK_S
        while not answered.wait(0.02) and self.is_open() and time.monotonic() < end:
            pass
        return values[0] if values else None


class Client(threading.Thread):
    """Works until it is told to stop: sends events, asks, and waits for answers."""

    def __init__(self, world, name, namespace):
        super().__init__(daemon=True)
        self.world, self.name, self.namespace = world, name, namespace
        self.chance, self.count = random.Random(name), 0
        self.connection, self.trouble, self.is_resting = None, None, False
        # By session: what has to be told, and what has to be told unless the server is killed before long.
        self.due, self.doubtful = collections.defaultdict(set), collections.defaultdict(set)
        self.asked = self.answered = self.queued = 0

    def run(self):
        try:
            while not self.world.stopping:
                if self.world.resting.is_set():
                    self.rest()
                else:
                    self.work()
        except BaseException as trouble:
            self.trouble = trouble

    def rest(self):
        self.is_resting = True
        time.sleep(0.01)

    def struck(self):
        """The server was killed. Under the world's lock."""
        self.doubtful.clear()

    def payload(self):
        self.count += 1
        return f"{self.name}:{self.count}"

    def come(self, recovers, former=None):
        connection = Connection(self.world, self.namespace, former)
        if not connection.join(recovers):
            connection.disconnect()
            # Not all of them at once, and not again and again.
            time.sleep(self.chance.uniform(0.02, 0.1))
            return None
        with self.world.lock:
            # Of this it is told before anybody hears that it is let in.
            self.due[connection.joined] |= set()
        return connection

    def send(self):
        """An event that nobody waits for."""
        connection, payload = self.connection, self.payload()
        with self.world.lock:
            # What is sent to a server that was killed is gone.
            if connection.life == self.world.lives:
                self.doubtful[connection.joined].add(payload)
        try:
            connection.emit("say", payload, namespace=self.namespace)
        except socketio.exceptions.SocketIOError:
            with self.world.lock:
                self.doubtful[connection.joined].discard(payload)

    def ask(self):
        """True if there was an answer. What was sent before it has been handled, and is stored if the event had to be."""
        connection, payload = self.connection, self.payload()
        session, answer = connection.joined, connection.ask(payload)
        self.asked += 1
        if answer == () and self.namespace == "/queued":
            self.queued += 1
            with self.world.lock:
                self.due[session] |= self.doubtful.pop(session, set()) | {payload}
        elif answer is not None:
            self.answered += 1
            if answer != (payload,):
                self.world.ledger.faults.append(f"{self.name} asked {payload} and was answered {answer}")
        elif self.namespace == "/queued" and connection.is_open() and self.world.is_alive(connection.life):
            self.world.ledger.faults.append(f"{self.name} was not answered in time, {payload} in {session}")
        return answer is not None

    def settle(self):
        """Nobody kills the server now: all is due. Under the world's lock, while it rests."""
        for session, payloads in self.doubtful.items():
            self.due[session] |= payloads
        self.doubtful.clear()

    def missing(self):
        with self.world.lock:
            return [session for session, payloads in self.due.items() if not self.world.ledger.has(session, payloads)]

    def forget(self):
        """What has been told."""
        with self.world.lock:
            self.due.clear()


class Keeper(Client):
    """Stays, and comes back when the server was killed: to its session, or to a new one."""

    def __init__(self, world, name, namespace, recovers):
        super().__init__(world, name, namespace)
        # What it comes back to, and what that was called.
        self.recovers, self.recovered, self.former = recovers, 0, None

    def work(self):
        self.is_resting = False
        if not self.connection:
            return self.come_back()
        for _ in range(self.chance.randrange(4)):
            self.send()
        self.ask()
        self.look()
        time.sleep(self.chance.uniform(0.02, 0.08))

    def come_back(self):
        self.connection = self.come(self.recovers, self.former and self.former[0])
        if self.connection and self.former:
            self.recovered += self.connection.joined == self.former[1]
            if self.connection.joined != self.former[1]:
                self.world.ledger.faults.append(f"{self.name} came back and had no session")

    def rest(self):
        """Once it is connected and its last question has an answer."""
        if self.is_resting:
            return time.sleep(0.01)
        if not self.connection:
            self.work()
        elif self.ask():
            self.is_resting = True
        else:
            time.sleep(0.01)
        self.look()

    def look(self):
        """Whether the connection is there yet."""
        if not self.connection or self.connection.is_open():
            return
        if self.world.is_alive(self.connection.life):
            self.world.ledger.faults.append(f"{self.name} lost its connection {self.connection.joined}: {self.connection.reason}")
        self.former = (self.connection.pid, self.connection.joined) if self.recovers else None
        self.connection = None


class Visitor(Client):
    """Comes, sends a few events and leaves, again and again."""

    def work(self):
        self.is_resting = False
        self.connection = self.come(recovers=False)
        if not self.connection:
            return
        for _ in range(self.chance.randrange(4)):
            self.send()
        session = self.connection.joined
        if not self.ask():
            # Perhaps it was not read: the library drops what it has in its queue.
            with self.world.lock:
                self.doubtful.pop(session, None)
        self.connection.disconnect()
        time.sleep(self.chance.uniform(0, 0.1))


class Phone(Client):
    """Speaks MQTT. Its session outlives its connections, but for those that it ends itself."""

    def __init__(self, world, name, version):
        super().__init__(world, name, "mqtt")
        self.version = version

    def work(self):
        self.is_resting = False
        if not self.connection:
            return self.come_in()
        time.sleep(self.chance.uniform(0.02, 0.3))
        if self.chance.random() < 0.3:
            self.leave()
        self.look()

    def come_in(self):
        connection = PhoneConnection(self.world, self.name, self.version, is_new=self.chance.random() < 0.3)
        if connection.join():
            self.connection = connection
        else:
            connection.end()
            time.sleep(self.chance.uniform(0.02, 0.1))

    def leave(self):
        self.connection.end()
        self.connection = None

    def rest(self):
        if not self.is_resting and not self.connection:
            self.work()
        self.is_resting = self.connection is not None
        self.look()
        time.sleep(0.01)

    def look(self):
        if self.connection and not self.connection.is_open():
            if self.world.is_alive(self.connection.life):
                self.world.ledger.faults.append(f"{self.name} lost its connection")
            self.leave()


class PhoneConnection:
    """One connection, which is not mended."""

    def __init__(self, world, name, version, is_new):
        self.world, self.name = world, name
        with world.lock:
            self.life = world.lives
        self.code, self.has_ended = None, threading.Event()
        options = {} if version == 5 else {"clean_session": is_new}
        kind = mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=kind, reconnect_on_failure=False, **options)
        self.client.on_connect, self.client.on_disconnect = self.connected, lambda *_: self.has_ended.set()
        self.more = {}
        if version == 5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600
            self.more = {"clean_start": is_new, "properties": properties}

    @property
    def joined(self):
        """Its session as the back end knows it."""
        with self.world.ledger.lock:
            return self.world.ledger.named.get(self.name, ("", None))[1]

    def connected(self, _client, _data, _flags, code, _properties):
        self.code = code

    def is_open(self):
        return self.code is not None and not self.has_ended.is_set()

    def join(self):
        """True once it is let in. That, or its end, comes in time."""
        try:
            self.client.connect(*self.world.server.address, keepalive=60, **self.more)
        except OSError:
            return False
        self.client.loop_start()
        end = time.monotonic() + ANSWER_S + SLACK_S
        while self.code is None and not self.has_ended.wait(0.005) and time.monotonic() < end:
            pass
        if self.code is not None and self.code.is_failure:
            self.world.ledger.faults.append(f"{self.name} was turned away: {self.code}")
        elif self.code is None and not self.has_ended.is_set() and self.world.is_alive(self.life):
            self.world.ledger.faults.append(f"{self.name} waits to be let in")
        return self.is_open()

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()

    disconnect = end


class Round:
    """What happens in a round, and what must hold in the end."""

    def __init__(self, world, back_end, chance):
        self.world, self.back_end, self.chance = world, back_end, chance
        self.ways = []

    def trouble(self):
        """Every way has its turn, in another order each time."""
        if not self.ways:
            self.ways = self.chance.sample(WAYS, len(WAYS))
        self.back_end.turn(self.ways.pop())
        time.sleep(self.chance.uniform(0.1, 1.2))

    def run(self):
        self.trouble()
        self.world.kill()
        if self.chance.random() < 0.3:
            self.back_end.turn("well")
        self.world.server.start()
        self.trouble()
        self.back_end.turn("well")
        self.rest()
        self.check()
        self.world.resting.clear()

    def rest(self):
        clients, ledger = self.world.clients, self.world.ledger
        self.world.resting.set()
        end = time.monotonic() + SETTLE_S
        while not all(client.is_resting for client in clients) and not ledger.faults and time.monotonic() < end:
            for client in clients:
                if client.trouble:
                    raise client.trouble
            time.sleep(0.02)
        with self.world.lock:
            for client in clients:
                client.settle()

    def check(self):
        clients, ledger = self.world.clients, self.world.ledger
        end = time.monotonic() + SETTLE_S
        while (unheard := self.unheard()) and not ledger.faults and time.monotonic() < end:
            time.sleep(0.02)
        assert not ledger.faults, f"{len(ledger.faults)} faults: {ledger.faults[:5]}"
        restless = [client.name for client in clients if not client.is_resting]
        assert not restless, f"never answered by a back end that is well: {restless}"
        assert not unheard, unheard
        for client in clients:
            client.forget()

    def unheard(self):
        """What the back end does not know, in words; None once it knows all."""
        clients = self.world.clients
        if missing := [one for client in clients for one in client.missing()]:
            return f"not all is told of {len(missing)} sessions: {missing[:5]}"
        if waiting := self.world.waiting():
            return f"{waiting} events wait to be told"
        # Each time, since which session a client of MQTT has is known from what was heard alone.
        there = {client.connection.joined for client in clients if client.connection and client.connection.is_open()}
        if (online := self.world.ledger.online()) != there:
            return f"held for connected and gone: {online - there}; there and not held for it: {there - online}"
        return None


def dead_letters(server, names):
    url = f"http://{server.private}/v1/deliveries"
    answers = [requests.get(url, {"status": "dead", "webhook": name}, timeout=10).json() for name in names]
    return [letter for answer in answers for letter in answer["items"]]


def run(start, rounds, chance, progress):
    """What is told when nothing is wrong. `start` makes a server of a configuration."""
    ledger = Ledger()
    back_end = BackEnd(ledger, chance)
    try:
        server = start(config(back_end.port))
    except BaseException:
        back_end.close()
        raise
    world = World(server, ledger)
    names = ["/", "/queued"]
    world.clients = [Keeper(world, f"k{at}", names[at % 2], recovers=at < 4) for at in range(6)]
    world.clients += [Visitor(world, f"v{at}", names[at % 2]) for at in range(4)]
    world.clients += [Phone(world, f"p{at}", [4, 5][at % 2]) for at in range(4)]
    try:
        for client in world.clients:
            client.start()
        one = Round(world, back_end, chance)
        for turn in range(rounds):
            one.run()
            progress(f"round {turn + 1} of {rounds}, {len(ledger.taken)} events heard")
        assert not (dead := dead_letters(server, NAMES)), f"dead letters: {dead[:3]}"
        return told(world)
    finally:
        world.stopping = True
        for client in world.clients:
            client.join(SETTLE_S)
            if client.connection:
                client.connection.disconnect()
        back_end.close()
        server.close()


def told(world):
    ledger, clients = world.ledger, world.clients
    recovered = sum(client.recovered for client in clients if isinstance(client, Keeper))
    asked, answered, queued = (sum(getattr(client, what) for client in clients) for what in ("asked", "answered", "queued"))
    return (
        f"{len(ledger.taken)} events heard, 0 lost, {ledger.again} heard again; {asked} questions, {answered} answered, {queued} queued; "
        f"{len(ledger.connected)} sessions, {recovered} times recovered, 0 left online"
    )
