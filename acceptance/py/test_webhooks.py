"""Webhooks against libraries that others wrote: python-socketio, paho-mqtt and MQTT.js on one side, standardwebhooks and cloudevents on
the other."""

import base64
import http.server
import json
import os
import pathlib
import queue
import subprocess
import tempfile
import threading
import time
import unittest

import paho.mqtt.client as paho
import socketio
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from paho.mqtt.enums import MQTTProtocolVersion
from standardwebhooks import Webhook, WebhookVerificationError

from .killed import Server
from .sut import BINARY, HERE, WAIT_S, eventually, ours

OLD, NEW = ("whsec_" + base64.b64encode(os.urandom(32)).decode() for _ in range(2))
TYPES = ["session.connect", "session.event", "session.connected", "session.disconnected", "session.ended"]


class BackEnd(http.server.ThreadingHTTPServer):
    """Verifies and parses every request, keeps it, and answers as the tests need."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.events, self.faults = [], [], []
        self.on_connect = lambda event: (200, {"result": {"user": "ada"}, "state": "s"})
        # Of single subscriptions and messages.
        self.on_channel = lambda event: (204, None)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            for secret in (OLD, NEW):
                Webhook(secret).verify(body, headers)
            event = from_http(HTTPMessage(headers=headers, body=body), JSONFormat())
        except Exception as error:  # whatever a library does not like
            self.server.faults.append(repr(error))
            return self.answer(400, {})
        self.server.requests.append((headers, body))
        self.server.events.append(event)
        if event.get_type().endswith("session.connect"):
            return self.answer(*self.server.on_connect(event))
        if event.get_type().endswith(("channel.subscribe", "channel.publish")):
            return self.answer(*self.server.on_channel(event))
        if event.get_attributes().get("ackrequested"):
            return self.answer(200, {"result": [event.get_data()]})
        return self.answer(204, None)

    def answer(self, status, value):
        text = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        if value is not None:
            self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class HookCase(unittest.TestCase):
    """A back end, and a server that asks and tells it."""

    def begin(self, config, hook):
        """`hook` is what is said of the webhook beside its place and secrets; no table may follow."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.back_end = BackEnd()
        self.addCleanup(self.back_end.close)
        config = f"""
            {config}
            [[webhook]]
            name = "app"
            url = "http://127.0.0.1:{self.back_end.server_address[1]}/hook"
            secrets = ["{OLD}", "{NEW}"]
            {hook}
            """
        self.server = Server(BINARY, folder.name, ["server.drain_window_ms=0"], config, word="serve")
        self.addCleanup(self.server.close)
        self.url = f"http://{self.server.public}"

    def by_type(self, count):
        """What the back end was told once it was so much, by type."""
        eventually(lambda: len(self.back_end.events) == count, f"{count} events")
        self.assertEqual(self.back_end.faults, [])
        return {event.get_type().removeprefix("trunkline."): event for event in self.back_end.events}

    def told(self, kind):
        """Events of that type, each once."""
        seen = {event.get_id(): event for event in list(self.back_end.events)}
        return [event for event in seen.values() if event.get_type() == f"trunkline.{kind}"]


@ours
class Webhooks(HookCase):
    def setUp(self):
        hook = f"""
            timeout_ms = 3000
            send_passwords = "base64"
            types = {json.dumps(TYPES)}
            """
        self.begin('auth.mode = "back_end"', hook)

    def knocking(self, version):
        """What MQTT.js does until it is connected or gives up, a line each."""
        command = ["node", HERE / "lib/mqtt-knocking.mjs", f"mqtt://{self.server.public}", "knocker", str(version)]
        return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=True).stdout.split("\n")[:-1]

    def test_what_is_sent_is_what_the_standards_say(self):
        client = socketio.Client()
        client.connect(self.url, auth={"token": "t"}, transports=["websocket"], wait_timeout=WAIT_S)
        sid = client.get_sid()
        sent = ["tea", 7, {"a": [None, "\u00fc\u2028"]}]
        self.assertEqual(client.call("say", tuple(sent), timeout=WAIT_S), sent)
        client.emit("bytes", b"\x00\xff")
        # A client that disconnects does not send what it has in its queue.
        eventually(lambda: len(self.back_end.events) == 4, "what was sent")
        client.disconnect()
        eventually(lambda: len(self.back_end.events) == 6, "all events")
        self.assertEqual(self.back_end.faults, [])
        events = self.back_end.events
        told = [event.get_type().removeprefix("trunkline.") for event in events]
        self.assertEqual(sorted(told), sorted(TYPES + ["session.event"]))
        for event in events:
            attributes = event.get_attributes()
            self.assertEqual((attributes["sessionid"], event.get_source()), (sid, f"/sessions/{sid}"))
            self.assertEqual((attributes["generation"], attributes["protocol"]), (1, "socketio"))
            self.assertIsNotNone(event.get_time().tzinfo)
        by_type = {kind: event for kind, event in zip(told, events)}
        self.assertEqual(by_type["session.connect"].get_data()["auth"], {"token": "t"})
        data = [event.get_data() for event, kind in zip(events, told) if kind == "session.event"]
        self.assertIn(sent, data)
        self.assertIn([{"$binary": "AP8="}], data)
        self.assertEqual(by_type["session.ended"].get_attributes()["userid"], "ada")
        self.assertEqual(by_type["session.ended"].get_attributes()["state"], "s")

    def test_a_client_of_paho_is_what_the_back_end_says(self):
        for version in (MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5):
            with self.subTest(version=version):
                self.back_end.events.clear()
                connected, messages = threading.Event(), queue.Queue()
                self.back_end.on_connect = lambda event: (
                    200,
                    {
                        "result": {"user": "ada", "subscriptions": ["tea"], "mqtt": {"user_properties": [["region", "north"]]}},
                        "state": "s",
                        "actions": [{"publish": {"channel": "tea", "data": {"hot": True}}}],
                    },
                )
                client = paho.Client(paho.CallbackAPIVersion.VERSION2, "pump-1", protocol=version)
                client.username_pw_set("eve", "hush")
                told = []

                def on_connect(_client, _data, _flags, reason, properties):
                    told.append((reason.value, getattr(properties, "UserProperty", None)))
                    connected.set()

                client.on_connect = on_connect
                client.on_message = lambda _client, _data, message: messages.put(message)
                client.connect(*self.server.address)
                client.loop_start()
                self.assertTrue(connected.wait(WAIT_S))
                message = messages.get(timeout=WAIT_S)
                self.assertEqual((message.topic, json.loads(message.payload)), ("tea", {"hot": True}))
                client.disconnect()
                client.loop_stop()
                is_new = version == MQTTProtocolVersion.MQTTv5
                self.assertEqual(told, [(0, [("region", "north")] if is_new else None)])
                events = self.by_type(4)
                asked = events["session.connect"]
                self.assertEqual((asked.get_source(), asked.get_attributes()["clientid"]), ("/clients/pump-1", "pump-1"))
                data = asked.get_data()
                self.assertEqual((data["user_name"], base64.b64decode(data["password"])), ("eve", b"hush"))
                self.assertEqual(data["version"], "5" if is_new else "3.1.1")
                sids = {event.get_attributes()["sessionid"] for kind, event in events.items() if kind != "session.connect"}
                self.assertEqual(len(sids), 1)
                for kind in ("session.connected", "session.disconnected", "session.ended"):
                    attributes = events[kind].get_attributes()
                    self.assertEqual((attributes["protocol"], attributes["generation"]), ("mqtt", 1))
                    self.assertEqual((attributes["userid"], attributes["state"], attributes["clientid"]), ("ada", "s", "pump-1"))
                left = events["session.disconnected"].get_data()
                self.assertEqual((left["cause"], left["reason"], left["resumable"]), ("client", "disconnect", False))

    def test_mqttjs_comes_back_by_itself_while_there_is_no_answer(self):
        for version in (4, 5):
            with self.subTest(version=version):
                answers = iter([(500, {}), (200, {"result": 7}), (503, {})])
                late = iter([True])

                def on_connect(event):
                    if next(late, None):
                        # Longer than the time-out.
                        time.sleep(4)
                        return (200, {})
                    return next(answers, None) or (200, {})

                self.back_end.on_connect = on_connect
                told = self.knocking(version)
                self.assertEqual(told.count("reconnect"), 4, told)
                self.assertEqual([line for line in told if line.startswith(("error", "connect"))], ["connect"])

    def test_mqttjs_stays_away_after_a_no(self):
        for version, code in ((4, 5), (5, 135)):
            with self.subTest(version=version):
                self.back_end.events.clear()
                self.back_end.on_connect = lambda event: (403, {})
                self.assertEqual(self.knocking(version), [f"error {code}", "close"])
                self.assertEqual(len(self.back_end.events), 1)

    def test_a_body_that_was_changed_is_refused_by_the_library(self):
        client = socketio.Client()
        client.connect(self.url, transports=["websocket"], wait_timeout=WAIT_S)
        client.disconnect()
        eventually(lambda: self.back_end.requests, "a request")
        headers, body = self.back_end.requests[0]
        Webhook(OLD).verify(body, headers)
        for changed in (body + b" ", body.replace(b"connect", b"CONNECT")):
            with self.assertRaises(WebhookVerificationError):
                Webhook(OLD).verify(changed, headers)


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@ours
class Certificates(HookCase):
    """Clients of MQTT that prove by a certificate who they are."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.cards(self.folder)
        config = f"""
            auth.mode = "back_end"
            [tls]
            certificate = "{self.folder / "server.pem"}"
            key = "{self.folder / "server.key"}"
            [mqtt]
            tls_listen = "127.0.0.1:0"
            tls_client_ca = "{self.folder / "ca.pem"}"
            tls_client_certificate = "optional"
            tls_client_user = "common_name"
            """
        self.begin(config, f"types = {json.dumps(TYPES)}\ntimeout_ms = 9000")

    def cards(self, folder):
        """A certificate of the server, an authority, and a client's that it signed."""
        new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        for name, subject in (("server", "/CN=localhost"), ("ca", "/CN=authority")):
            openssl(*new, "-x509", "-days", 2, "-subj", subject, "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")
        openssl(*new, "-subj", "/O=Works/CN=pump-7", "-addext", "subjectAltName=DNS:pump-7", "-keyout", folder / "pump.key", "-out", folder / "pump.csr")
        openssl("x509", "-req", "-in", folder / "pump.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial",
                "-copy_extensions", "copy", "-days", 2, "-out", folder / "pump.pem")

    def test_a_back_end_hears_whose_certificate_a_client_has(self):
        for version in (MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5):
            for certificate in ("pump", None):
                with self.subTest(version=version, certificate=certificate):
                    self.back_end.events.clear()
                    self.back_end.on_connect = lambda event: (200, {})
                    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "pump-client", protocol=version)
                    of = lambda kind: certificate and str(self.folder / f"{certificate}.{kind}")
                    client.tls_set(str(self.folder / "server.pem"), of("pem"), of("key"))
                    connected = threading.Event()
                    client.on_connect = lambda *_: connected.set()
                    client.connect("localhost", self.server.port("mqtt_tls"))
                    client.loop_start()
                    self.assertTrue(connected.wait(WAIT_S))
                    client.disconnect()
                    client.loop_stop()
                    events = self.by_type(4)
                    asked = events["session.connect"].get_data()
                    subject = {"subject": "CN=pump-7,O=Works", "user": "pump-7"} if certificate else None
                    self.assertEqual((asked["certificate"], asked["secure"]), (subject, True))
                    user = events["session.connected"].get_attributes().get("userid")
                    self.assertEqual(user, "pump-7" if certificate else None)


if __name__ == "__main__":
    unittest.main()
