"""Webhooks against libraries that others wrote: python-socketio on one side, standardwebhooks and cloudevents on the other."""

import base64
import http.server
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time
import unittest

import socketio
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks import Webhook, WebhookVerificationError

from .sut import HERE, REFERENCE, WAIT_S, eventually

OLD, NEW = ("whsec_" + base64.b64encode(os.urandom(32)).decode() for _ in range(2))
TYPES = ["session.connect", "session.event", "session.connected", "session.disconnected", "session.ended"]


class BackEnd(http.server.ThreadingHTTPServer):
    """Verifies and parses every request, keeps it, and answers as the tests need."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.events, self.faults = [], [], []
        threading.Thread(target=self.serve_forever, daemon=True).start()


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
            return self.answer(200, {"result": {"user": "ada"}, "state": "s"})
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


@unittest.skipIf(REFERENCE, "a rule of this server")
class Webhooks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        folder = pathlib.Path(folder.name)
        self.back_end = BackEnd()
        self.addCleanup(self.back_end.server_close)
        self.addCleanup(self.back_end.shutdown)
        config, ready = folder / "trunkline.toml", folder / "ready"
        config.write_text(
            f"""
            [auth]
            mode = "back_end"
            [server]
            public_listen = "127.0.0.1:0"
            private_listen = "127.0.0.1:0"
            drain_window_ms = 0
            [[webhook]]
            name = "app"
            url = "http://127.0.0.1:{self.back_end.server_address[1]}/hook"
            secrets = ["{OLD}", "{NEW}"]
            types = {json.dumps(TYPES)}
            """
        )
        binary = os.path.join(os.environ.get("TRUNKLINE_BIN_DIR", HERE / "../target/debug"), "trunkline")
        command = [binary, "serve", "--config", config, "--ready-file", ready, "--memory"]
        server = subprocess.Popen(command)
        self.addCleanup(server.wait, timeout=20)
        self.addCleanup(server.terminate)
        end = time.monotonic() + WAIT_S
        while not ready.exists():
            if server.poll() is not None or time.monotonic() > end:
                raise AssertionError("the server did not start")
            time.sleep(0.01)
        self.url = f"http://{json.loads(ready.read_text())['public']}"

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


if __name__ == "__main__":
    unittest.main()
