"""Clients of paho-mqtt that publish and hear what others publish while the server is killed.

They keep their sessions and come back by themselves. In the end every message that was acknowledged has come to every subscriber,
and at QoS 2 none has come twice. `crash.py` has the server.
"""

import collections
import itertools
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import MessageState
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from .killed import START_S

SETTLE_S = 90
EXPIRY_S = 3600


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
    """Publishes numbers, of which `begun` have been; those it was told are taken are in `acknowledged`."""

    def __init__(self, server, name, version, qos):
        super().__init__(server, name, version)
        self.name, self.qos = name, qos
        self.acknowledged, self.sent, self.lock = [], {}, threading.Condition()
        self.answers, self.begun = {}, 0
        self.stopping = False
        self.on_publish = self.published
        self.loop_start()
        assert self.is_up.wait(START_S), "no connection"
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def is_ahead(self):
        """Whether somebody else has to get on first."""
        return False

    def work(self):
        for number in itertools.count():
            with self.lock:
                while (len(self.sent) >= self.WINDOW or self.is_ahead()) and not self.stopping:
                    self.lock.wait(0.01)
                if self.stopping:
                    return
            payload, self.begun = f"{self.name}:{number}".encode(), number + 1
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


def run(server, qos, rounds, chance, progress):
    """What is told when nothing is wrong."""
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


def lost(acknowledged, came):
    return [payload for payload in acknowledged if payload not in came]


def doubles(subscribers):
    return [(s._client_id, payload, times) for s in subscribers for payload, times in s.came.items() if times > 1][:5]
