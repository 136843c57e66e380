"""paho-mqtt: both versions over TCP and WebSocket, its own acknowledgements, sessions, properties, wills."""

import itertools
import queue
import socket
import threading
import unittest
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from .sut import REFERENCE, WAIT_S, ServerCase, ours

VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}
TRANSPORTS = ("tcp", "websockets")
names = itertools.count()


def name(word="p"):
    return f"{word}{next(names)}"


def properties(packet, **values):
    made = Properties(packet)
    for key, value in values.items():
        for item in value if isinstance(value, list) else [value]:
            setattr(made, key, item)
    return made


class Client(mqtt.Client):
    """paho's client with what it was told in queues."""

    def __init__(self, case, version="5.0", transport="tcp", client_id=None, **options):
        self.kind = VERSIONS[version]
        self.five = self.kind == mqtt.MQTTv5
        # 5.0 says at CONNECT whether it starts anew, 3.1.1 at the start.
        clean = options.pop("clean", True)
        if not self.five:
            options["clean_session"] = clean
        super().__init__(mqtt.CallbackAPIVersion.VERSION2, client_id or name(), protocol=self.kind, transport=transport, reconnect_on_failure=False, **options)
        self.case, self.clean, self.five_options = case, clean, {}
        self.told = {word: queue.Queue() for word in ("connect", "message", "subscribe", "unsubscribe", "publish", "disconnect")}
        self.on_connect = lambda c, u, flags, code, props: self.told["connect"].put((flags, code, props))
        self.on_message = lambda c, u, message: self.told["message"].put(message)
        self.on_subscribe = lambda c, u, mid, codes, props: self.told["subscribe"].put([code.value for code in codes])
        self.on_unsubscribe = lambda c, u, mid, codes, props: self.told["unsubscribe"].put([code.value for code in codes])
        self.on_publish = lambda c, u, mid, code, props: self.told["publish"].put((mid, code.value))
        self.on_disconnect = lambda c, u, flags, code, props: self.told["disconnect"].put(code.value)
        case.addCleanup(self.leave)

    def next(self, word):
        return self.told[word].get(timeout=WAIT_S)

    def open(self, expiry=None, **connect):
        server = self.case.server
        host, port = server["host"], server["port"]
        if self.transport == "websockets":
            url = urlsplit(server["mqttWs"])
            host, port = url.hostname, url.port
            self.ws_set_options(path=url.path)
        if self.five:
            connect["clean_start"] = self.clean
            if expiry is not None:
                connect["properties"] = properties(PacketTypes.CONNECT, SessionExpiryInterval=expiry)
        self.connect(host, port, keepalive=60, **connect)
        self.loop_start()
        self.flags, self.code, self.connack = self.next("connect")
        self.case.assertFalse(self.code.is_failure, self.code)
        return self

    def sub(self, *arguments, **options):
        self.subscribe(*arguments, **options)
        return self.next("subscribe")

    def pub(self, topic, payload, qos=1, **options):
        info = self.publish(topic, payload, qos, **options)
        info.wait_for_publish(WAIT_S)
        self.case.assertTrue(info.is_published(), f"{topic} not acknowledged")
        return info

    def cut(self):
        """The connection is gone without DISCONNECT."""
        sock = self.socket()
        raw = getattr(sock, "_socket", sock)
        raw.shutdown(socket.SHUT_RDWR)
        self.loop_stop()

    def leave(self):
        self.disconnect()
        self.loop_stop()


class Paho(ServerCase):
    kind = "mqtt"
    settings = {"shards": 4}

    def each(self):
        """(version, transport) of every kind of connection."""
        for version, transport in itertools.product(VERSIONS, TRANSPORTS):
            with self.subTest(f"{version} over {transport}"):
                yield version, transport

    def client(self, *arguments, **options):
        return Client(self, *arguments, **options)

    def test_every_qos(self):
        for version, transport in self.each():
            topic = name("qos")
            client = self.client(version, transport).open()
            self.assertEqual(client.sub(topic, 2), [2])
            for qos in (0, 1, 2):
                client.pub(topic, f"q{qos}", qos)
            self.assertEqual([(m.payload, m.qos, m.retain) for m in (client.next("message") for _ in range(3))], [(b"q0", 0, False), (b"q1", 1, False), (b"q2", 2, False)])
            client.unsubscribe(topic)
            client.next("unsubscribe")

    def test_a_burst_keeps_its_order(self):
        for version, transport in self.each():
            topic = name("burst")
            client = self.client(version, transport).open()
            client.sub(topic, 1)
            infos = [client.publish(topic, str(i), 1) for i in range(200)]
            for info in infos:
                info.wait_for_publish(WAIT_S)
            self.assertEqual([int(client.next("message").payload) for _ in range(200)], list(range(200)))

    def test_large_payloads(self):
        for version, transport in self.each():
            if REFERENCE and transport == "websockets":
                continue
            topic = name("large")
            client = self.client(version, transport).open()
            client.sub(topic, 2)
            payload = bytes(range(256)) * 4_000
            client.pub(topic, payload, 2)
            self.assertEqual(client.next("message").payload, payload)

    def test_retained(self):
        for version, transport in self.each():
            topic = name("kept")
            first = self.client(version, transport).open()
            first.pub(topic, "x", retain=True)
            second = self.client(version, transport).open()
            second.sub(topic, 1)
            message = second.next("message")
            self.assertEqual((message.payload, message.retain), (b"x", True))
            first.pub(topic, None, retain=True)
            self.assertEqual(second.next("message").payload, b"")

    def test_will(self):
        for version, transport in self.each():
            topic = name("will")
            watch = self.client().open()
            watch.sub(topic, 2)
            client = self.client(version, transport)
            client.will_set(topic, "gone", 1)
            client.open()
            client.cut()
            self.assertEqual(watch.next("message").payload, b"gone")

    def test_session(self):
        for version, transport in self.each():
            if version == "3.1":
                continue
            topic, client_id = name("session"), name("id")
            first = self.client(version, transport, client_id, clean=False).open(expiry=600)
            self.assertFalse(first.flags.session_present)
            first.sub(topic, 1)
            first.leave()
            other = self.client().open()
            for i in range(10):
                other.pub(topic, str(i))
            again = self.client(version, transport, client_id, clean=False).open(expiry=600)
            self.assertTrue(again.flags.session_present)
            self.assertEqual([int(again.next("message").payload) for _ in range(10)], list(range(10)))

    def test_manual_acknowledgements(self):
        # QoS 1 only: at QoS 2 paho hands a message on at PUBREL, so it cannot leave one unacknowledged.
        for version in ("3.1.1", "5.0"):
            with self.subTest(version):
                topic, client_id = name("manual"), name("id")
                first = self.client(version, client_id=client_id, clean=False, manual_ack=True).open(expiry=600)
                first.sub(topic, 1)
                other = self.client().open()
                for payload in ("a", "b"):
                    other.pub(topic, payload)
                a, b = first.next("message"), first.next("message")
                self.assertEqual((a.payload, b.payload, a.dup, b.dup), (b"a", b"b", False, False))
                first.ack(b.mid, 1)
                # Its answer comes behind the acknowledgement.
                first.sub(name("barrier"), 0)
                other.pub(topic, "c")
                self.assertEqual(first.next("message").payload, b"c")
                first.cut()
                again = self.client(version, client_id=client_id, clean=False).open(expiry=600)
                seen = [again.next("message") for _ in range(2)]
                self.assertEqual([(m.payload, m.dup) for m in seen], [(b"a", True), (b"c", True)])
                self.assertEqual(seen[0].mid, a.mid)

    def test_properties(self):
        topic = name("properties")
        client = self.client().open()
        client.sub(topic, options=SubscribeOptions(qos=1), properties=properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=42))
        pairs = [("b", "1"), ("a", "2"), ("b", "3")]
        sent = properties(PacketTypes.PUBLISH, PayloadFormatIndicator=1, ContentType="text/plain", ResponseTopic="a/b", CorrelationData=b"\x00\xff", UserProperty=pairs, MessageExpiryInterval=90)
        client.pub(topic, "ü", properties=sent)
        got = client.next("message").properties
        self.assertEqual((got.PayloadFormatIndicator, got.ContentType, got.ResponseTopic, got.CorrelationData, got.UserProperty), (1, "text/plain", "a/b", b"\x00\xff", pairs))
        self.assertEqual(got.SubscriptionIdentifier, [42])
        self.assertTrue(85 <= got.MessageExpiryInterval <= 90)

    def test_subscribe_options(self):
        topic = name("options")
        client, other = self.client().open(), self.client().open()
        client.sub(topic, options=SubscribeOptions(qos=2, noLocal=True, retainAsPublished=True, retainHandling=2))
        client.pub(topic, "own", 2)
        other.pub(topic, "other", 2, retain=True)
        message = client.next("message")
        self.assertEqual((message.payload, message.qos, message.retain), (b"other", 2, True))
        other.pub(topic, None, retain=True)

    def test_codes_of_several_filters(self):
        client = self.client().open()
        self.assertEqual(client.sub([(name("a"), SubscribeOptions(qos=q)) for q in (2, 0, 1)]), [2, 0, 1])
        topic = name("known")
        client.sub(topic, 1)
        client.unsubscribe([topic, name("unknown")])
        self.assertEqual(client.next("unsubscribe"), [0, 0x11])

    def test_assigned_client_id(self):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "", protocol=mqtt.MQTTv5, reconnect_on_failure=False)
        known = queue.Queue()
        client.on_connect = lambda c, u, flags, code, props: known.put(props)
        client.connect(self.server["host"], self.server["port"])
        client.loop_start()
        self.addCleanup(client.loop_stop)
        self.addCleanup(client.disconnect)
        self.assertTrue(known.get(timeout=WAIT_S).AssignedClientIdentifier)

    def test_shared(self):
        topic = name("shared")
        members = [self.client(version).open() for version in ("3.1.1", "5.0", "5.0")]
        for member in members:
            self.assertEqual(member.sub(f"$share/g/{topic}", 1), [1])
        other = self.client().open()
        for i in range(30):
            other.pub(topic, str(i))
        got = []
        done = threading.Event()

        def drain(member):
            while not done.is_set():
                try:
                    got.append(int(member.told["message"].get(timeout=0.1).payload))
                except queue.Empty:
                    continue
                if len(got) == 30:
                    done.set()

        threads = [threading.Thread(target=drain, args=(member,)) for member in members]
        for thread in threads:
            thread.start()
        self.assertTrue(done.wait(WAIT_S), got)
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(got), list(range(30)))

    def test_reconnects_by_itself(self):
        """What paho does when the server takes its connection away: the session goes on."""
        topic, client_id = name("again"), name("id")
        client = self.client("5.0", client_id=client_id, clean=False)
        client._reconnect_on_failure = True
        client.reconnect_delay_set(1, 1)
        client.open(expiry=600)
        client.sub(topic, 1)
        client.socket().shutdown(socket.SHUT_RDWR)
        other = self.client().open()
        other.pub(topic, "meanwhile")
        flags, code, _ = client.next("connect")
        self.assertTrue(flags.session_present and not code.is_failure)
        self.assertEqual(client.next("message").payload, b"meanwhile")

    @ours
    def test_refused_publish(self):
        client = self.client().open()
        client.publish("$SYS/mine", "x", 1)
        self.assertEqual(client.next("publish")[1], 0x87)


if __name__ == "__main__":
    unittest.main()
