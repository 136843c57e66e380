"""Streams that a back end lets in and is told of, with clients (EventSource of Chromium and npm, requests, curl, websockets) and libraries
(standardwebhooks, cloudevents) that others wrote."""

import asyncio
import json
import queue
import subprocess
import threading
import unittest

import requests
import websockets
from websockets.sync.client import connect

from . import test_webhooks as hooks
from .sut import HERE, WAIT_S, eventually, ours

CLOUDEVENTS = ["cloudevents.json"]
HELLO = {"send": {"event": "message", "data": "hello"}}


class EventSource:
    """An `EventSource` in a program of its own: what happens to it, a line each."""

    def __init__(self, case, kind, url):
        command = ["node", str(HERE / "lib/eventsource-listening.mjs"), kind, url]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        case.addCleanup(self.close)

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def next(self):
        return self.lines.get(timeout=WAIT_S)

    def close(self):
        if not self.process.stdin.closed:
            self.process.stdin.close()
            self.process.wait(timeout=WAIT_S)
            self.process.stdout.close()


@ours
class Streams(hooks.HookCase):
    def setUp(self):
        config = """
            auth.mode = "back_end"
            [streams]
            cors_origins = ["*"]
            retry_ms = 50
            """
        hook = f"""
            types = {json.dumps(hooks.TYPES)}
            timeout_ms = 9000
            filters = ["chat/#"]
            """
        self.begin(config, hook)
        self.ws = f"ws://{self.server.public}/ws"
        self.back_end.on_connect = lambda event: (
            200,
            {"result": {"user": "ada", "subscriptions": ["news"]}, "state": "s", "actions": [HELLO]},
        )

    def life(self, protocol):
        """What the back end was asked and told of the one session of that protocol, once all of it is there."""
        kinds = ["session.connect", "session.connected", "session.disconnected", "session.ended"]

        def of(kind):
            return [event for event in self.told(kind) if event.get_attributes()["protocol"] == protocol]

        eventually(lambda: all(of(kind) for kind in kinds), f"the life of {protocol}")
        self.assertEqual(self.back_end.faults, [])
        life = {}
        for kind in kinds:
            [life[kind]] = of(kind)
        sessions = {event.get_attributes()["sessionid"] for event in life.values()}
        self.assertEqual(len(sessions), 1, "one session")
        [session] = sessions
        for kind, event in life.items():
            self.assertEqual(event.get_source(), f"/sessions/{session}")
            if kind != "session.connect":
                attributes = event.get_attributes()
                self.assertEqual((attributes["userid"], attributes["state"], attributes["generation"]), ("ada", "s", 1))
        left = life["session.disconnected"].get_data()
        self.assertEqual((left["cause"], left["resumable"]), ("client", False))
        return life

    def test_an_event_source_is_let_in_and_its_end_is_told(self):
        for kind in ("npm", "chromium"):
            with self.subTest(kind=kind):
                self.back_end.events.clear()
                source = EventSource(self, kind, f"{self.url}/sse?colour=blue")
                self.assertEqual([source.next(), source.next()], ["open", 'message "hello"'])
                source.close()
                asked = self.life("sse")["session.connect"].get_data()
                self.assertEqual((asked["query"]["colour"], asked["channels"]), (["blue"], []))

    def test_an_event_source_stays_away_after_a_no_and_comes_back_while_there_is_no_answer(self):
        for kind in ("npm", "chromium"):
            for status in (401, 403):
                with self.subTest(kind=kind, status=status):
                    self.back_end.events.clear()
                    self.back_end.on_connect = lambda event: (status, {})
                    source = EventSource(self, kind, f"{self.url}/sse?channel=tea")
                    told = source.next()
                    self.assertEqual(told.split()[:2], ["error", "closed"])
                    if kind == "npm":
                        self.assertEqual(told.split()[2], str(status))
                    source.close()
                    self.assertEqual(len(self.told("session.connect")), 1, "it asked once")
            with self.subTest(kind=kind, status=500):
                answers = iter([(500, {}), (200, {"result": 7}), (503, {})])
                self.back_end.on_connect = lambda event: next(answers, (200, {}))
                source = EventSource(self, kind, f"{self.url}/sse?channel=tea")
                told = [source.next()]
                while told[-1] != "open" or told.count("error connecting") < 3:
                    self.assertNotIn("closed", told[-1])
                    told.append(source.next())
                source.close()

    def test_requests_and_curl_are_let_in_and_refused(self):
        with requests.get(f"{self.url}/ndjson", stream=True, timeout=WAIT_S) as stream:
            lines = (json.loads(line) for line in stream.iter_lines())
            self.assertEqual(next(line for line in lines if "channel" in line)["data"], "hello")
        self.life("ndjson")
        curl = subprocess.Popen(["curl", "-sN", f"{self.url}/sse"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(curl.stdout.close)
        for line in curl.stdout:
            if line == 'data: "hello"\n':
                break
        curl.terminate()
        curl.wait(timeout=WAIT_S)
        self.life("sse")
        self.back_end.on_connect = lambda event: (403, {"error": {"code": "no", "message": "not today"}})
        for path in ("sse", "ndjson", "poll"):
            answer = requests.get(f"{self.url}/{path}", params={"channel": "tea"}, timeout=WAIT_S)
            self.assertEqual((answer.status_code, answer.headers["content-type"]), (403, "application/problem+json"), path)
        curl = subprocess.run(["curl", "-sN", "--fail", f"{self.url}/sse?channel=tea"], capture_output=True, timeout=WAIT_S)
        self.assertEqual(curl.returncode, 22, "HTTP status 400 or more")
        self.back_end.on_connect = lambda event: (500, {})
        for path, status in (("sse", 200), ("ndjson", 503), ("poll", 503)):
            answer = requests.get(f"{self.url}/{path}", params={"channel": "tea"}, timeout=WAIT_S)
            self.assertEqual(answer.status_code, status, path)

    def test_what_a_program_publishes_in_its_websocket_is_told(self):
        with connect(self.ws, subprotocols=CLOUDEVENTS, open_timeout=WAIT_S) as socket:
            heard = [json.loads(socket.recv(timeout=WAIT_S)) for _ in range(2)]
            self.assertEqual([event["type"] for event in heard], ["trunkline.stream.opened", "trunkline.channel.message"])
            self.assertEqual(heard[1]["data"], "hello")
            frame = {"specversion": "1.0", "source": "/program", "type": "trunkline.channel.publish"}
            sent = [
                {"id": "1", "subject": "chat/1", "event": "say", "data": {"text": "\u00fc\u2028"}},
                {"id": "2", "subject": "chat/2", "datacontenttype": "image/png", "data_base64": "AP8="},
                {"id": "3", "subject": "other", "data": 3},
            ]
            for event in sent:
                socket.send(json.dumps(frame | event))
            answers = [json.loads(socket.recv(timeout=WAIT_S)) for _ in sent]
            self.assertEqual(sorted((event["type"], event["answers"]) for event in answers),
                             [("trunkline.channel.published", id) for id in "123"])
            # The state is that of the time when it is told.
            eventually(lambda: len(self.told("session.event")) == 2, "what was published")
        life = self.life("websocket")
        told = sorted(self.told("session.event"), key=lambda event: event.get_subject())
        self.assertEqual([event.get_subject() for event in told], ["chat/1", "chat/2"])
        self.assertEqual([event.get_data() for event in told], [{"text": "\u00fc\u2028"}, b"\x00\xff"])
        self.assertEqual((told[0].get_attributes()["event"], told[1].get_datacontenttype()), ("say", "image/png"))
        for event in told:
            attributes = event.get_attributes()
            self.assertEqual((attributes["userid"], attributes["state"]), ("ada", "s"))
            self.assertEqual(event.get_source(), life["session.connected"].get_source())

    def test_websockets_gives_up_after_a_no_and_comes_back_while_there_is_no_answer(self):
        for status in (401, 403):
            self.back_end.on_connect = lambda event: (status, {})
            with self.assertRaises(websockets.InvalidStatus) as refused:
                connect(self.ws, subprotocols=CLOUDEVENTS, open_timeout=WAIT_S)
            self.assertEqual(refused.exception.response.status_code, status)

        async def opened():
            # It iterates over connections, and takes 503 for a reason to try again.
            async for socket in websockets.connect(self.ws, subprotocols=CLOUDEVENTS, open_timeout=WAIT_S):
                async with socket:
                    return json.loads(await socket.recv())["type"]

        answers = iter([(500, {})])
        self.back_end.on_connect = lambda event: next(answers, (200, {}))
        self.assertEqual(asyncio.run(opened()), "trunkline.stream.opened")


if __name__ == "__main__":
    unittest.main()
