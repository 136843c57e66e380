"""python-socketio's synchronous client: every transport, acks both ways, nested binary, refusals, endings."""

import threading
import unittest

import socketio

from .sut import TRANSPORTS, WAIT_S, Inbox, ServerCase, eventually, ours

NESTED = {"list": [1, "two", None, True, [b"\x01\x02"]], "deep": {"a": {"b": b"\x00\xff\x1e"}}, "empty": b""}
UNICODE = ["てすと", "Ä ä Ü ü ß", "\U0001f600", 'q"\\/,[]{}', "\u2028"]


class Sync(ServerCase):
    def client(self, transports, namespace="/", auth=None, **options):
        """A connected client whose `auth` event was seen, and its inbox."""
        client = socketio.Client(reconnection_delay=0.05, randomization_factor=0, **options)
        self.addCleanup(client.disconnect)
        inbox = Inbox(NamespaceView(client, namespace))
        client.connect(self.url, auth=auth, transports=transports, namespaces=[namespace], wait_timeout=WAIT_S)
        self.assertEqual(inbox.next("auth"), (auth or {},))
        return client, inbox

    def each(self, scenario):
        """Runs `scenario(transports)` on every transport."""
        for name, transports in TRANSPORTS.items():
            with self.subTest(name):
                scenario(transports)

    def test_events_and_unicode(self):
        def scenario(transports):
            client, inbox = self.client(transports, "/custom", {"token": "ä"})
            args = (1, "two", None, True, {"a": [1.5]}, *UNICODE)
            client.emit("message", args, namespace="/custom")
            self.assertEqual(inbox.next("message-back"), args)

        self.each(scenario)

    def test_ack_of_the_server(self):
        def scenario(transports):
            client, _ = self.client(transports)
            self.assertEqual(client.call("message-with-ack", (1, "two", [3])), (1, "two", [3]))
            self.assertIsNone(client.call("message-with-ack"))

        self.each(scenario)

    def test_nested_binary_both_ways(self):
        def scenario(transports):
            client, inbox = self.client(transports)
            client.emit("message", (NESTED, b"second"))
            self.assertEqual(inbox.next("message-back"), (NESTED, b"second"))
            self.assertEqual(client.call("message-with-ack", (b"first", NESTED)), (b"first", NESTED))

        self.each(scenario)

    def test_ack_of_the_client_with_binary(self):
        def scenario(transports):
            client, inbox = self.client(transports)
            client.on("question", lambda a, b: {"a": a, "b": b})
            client.emit("ask-me", (2000, "question", 1, b"\x07"))
            self.assertEqual(inbox.next("asked"), ({"timeout": False, "args": [{"a": 1, "b": b"\x07"}]},))

        self.each(scenario)

    def test_a_burst_over_an_upgrade(self):
        """Nothing lost, nothing doubled. This client has a thread per event, so that order cannot be seen here."""
        def scenario(transports):
            client, inbox = self.client(transports)
            for i in range(200):
                client.emit("message", i)
            client.call("message-with-ack", "settled", timeout=WAIT_S)
            eventually(lambda: inbox.count("message-back") >= 200, "all echoes")
            self.assertEqual(sorted(args[0] for args in inbox.rest("message-back")), list(range(200)))

        self.each(scenario)

    def test_upgrade_really_happens(self):
        client, _ = self.client(TRANSPORTS["upgrade"])
        eventually(lambda: client.transport() == "websocket", "upgrade")

    def test_rooms_between_clients(self):
        (one, first), (two, second) = self.client(["polling"], "/dyn-py"), self.client(["websocket"], "/dyn-py")
        self.assertEqual(one.call("join", "r", namespace="/dyn-py"), "ok")
        two.call("to-room", ("r", "hit", {"x": b"1"}), namespace="/dyn-py")
        self.assertEqual(first.next("hit"), ({"x": b"1"},))
        two.call("message-with-ack", 1, namespace="/dyn-py")
        self.assertEqual(second.rest("hit"), [])

    def test_refusal_is_final(self):
        def scenario(transports):
            client = socketio.Client(reconnection_delay=0.05)
            errors = []
            client.on("connect_error", lambda data: errors.append(data), namespace="/no")
            with self.assertRaises(socketio.exceptions.ConnectionError):
                client.connect(self.url, transports=transports, namespaces=["/no"], wait_timeout=WAIT_S)
            self.assertEqual(errors, [{"message": "Auth failed (custom namespace)", "data": {"code": 7}}])
            client.disconnect()

        self.each(scenario)

    def test_unknown_namespace(self):
        client = socketio.Client()
        self.addCleanup(client.disconnect)
        errors = []
        client.on("connect_error", errors.append, namespace="/nowhere")
        with self.assertRaises(socketio.exceptions.ConnectionError):
            client.connect(self.url, namespaces=["/nowhere"], wait_timeout=WAIT_S)
        self.assertEqual(errors, [{"message": "Invalid namespace"}])

    def test_several_namespaces(self):
        client = socketio.Client()
        self.addCleanup(client.disconnect)
        names = ["/", "/custom", "/dyn-a"]
        client.connect(self.url, namespaces=names, wait_timeout=WAIT_S)
        for name in names:
            reply = client.call("handshake", namespace=name)
            self.assertEqual(reply["namespace"], name)
        self.assertEqual(len({client.get_sid(n) for n in names}), 3)

    def test_server_disconnect_is_final(self):
        client, _ = self.client(["websocket"], "/custom")
        gone = threading.Event()
        reasons = []
        client.on("disconnect", lambda reason: (reasons.append(reason), gone.set()), namespace="/custom")
        client.emit("kick", namespace="/custom")
        self.assertTrue(gone.wait(WAIT_S))
        self.assertEqual(reasons, [client.reason.SERVER_DISCONNECT])
        eventually(lambda: not client.connected, "end of the connection")

    def test_closed_transport_reconnects(self):
        self.comes_back(["websocket"])

    @ours
    def test_closed_polling_transport_reconnects(self):
        """This client takes Engine.IO's close packet for final: a transient end of polling must be told otherwise."""
        self.comes_back(["polling"])

    def comes_back(self, transports):
        client, inbox = self.client(transports, "/custom")
        before = client.get_sid("/custom")
        client.emit("kick-transport", namespace="/custom")
        self.assertEqual(inbox.next("auth"), ({},))
        self.assertNotEqual(client.get_sid("/custom"), before)

    def test_time_out_of_call(self):
        client, _ = self.client(["websocket"])
        with self.assertRaises(socketio.exceptions.TimeoutError):
            client.call("never", 1, timeout=0.2)

    @ours
    def test_handler_without_room_for_an_offset(self):
        """Recovery off by default: a handler of one argument gets one."""
        client, _ = self.client(["websocket"])
        seen = threading.Event()
        client.on("message-back", lambda data: seen.set())
        client.emit("message", "x")
        self.assertTrue(seen.wait(WAIT_S))


class Heartbeat(ServerCase):
    settings = {"pingIntervalMs": 300, "pingTimeoutMs": 200}

    def test_stays_connected(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(name):
                client = socketio.Client(reconnection=False)
                self.addCleanup(client.disconnect)
                lost = threading.Event()
                client.on("disconnect", lambda *_: lost.set())
                client.connect(self.url, transports=transports, wait_timeout=WAIT_S)
                self.assertFalse(lost.wait(1.5))
                self.assertEqual(client.call("message-with-ack", 1), 1)


class NamespaceView:
    """`client.on` for one namespace."""

    def __init__(self, client, namespace):
        self.client, self.namespace = client, namespace

    def on(self, event, handler):
        self.client.on(event, handler, namespace=self.namespace)


if __name__ == "__main__":
    unittest.main()
