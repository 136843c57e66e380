"""What a back end is asked about single channels, with clients (paho-mqtt, requests, websockets, python-socketio) and libraries (standardwebhooks, cloudevents) that others wrote."""

import unittest

import paho.mqtt.client as mqtt
import requests
import socketio
from websockets.sync.client import connect

from . import test_webhooks as hooks
from .test_sockets import Client
from .sut import WAIT_S, eventually, ours

NO = (403, {"error": {"message": "not you"}})
# By type, and the last level of the channel or the name of the event.
ANSWERS = {
    "subscribe": {"no": NO, "low": (200, {"result": {"qos": 0}})},
    "publish": {
        "no": NO,
        "other": (200, {"result": {"data": "else"}}),
        "drop": (200, {"result": {"drop": True}}),
    },
}


def verdict(event):
    name = event.get_data().get("event") or event.get_subject().rsplit("/")[-1]
    return ANSWERS[event.get_type().rsplit(".")[-1]].get(name, (204, None))


CONFIG = """
auth.mode = "anonymous"
[[socketio.namespace]]
name = "/"
events = "relay"
[[channel]]
filter = "main"
publish = "webhook"
[[channel]]
filter = "ask/#"
subscribe = "webhook"
publish = "webhook"
"""


@ours
class Asked(hooks.HookCase):
    def setUp(self):
        self.begin(CONFIG, 'timeout_ms = 20000\ntypes = ["channel.subscribe", "channel.publish"]')
        self.back_end.on_channel = verdict

    def client(self, version):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=version)
        client.connect(*self.server.address)
        client.loop_start()
        self.addCleanup(client.loop_stop)
        eventually(client.is_connected, "CONNACK")
        return client

    def test_mqtt(self):
        for version, refused in ((mqtt.MQTTv311, 0x80), (mqtt.MQTTv5, 0x87)):
            with self.subTest(version=version):
                client, codes, came, acks = self.client(version), [], [], {}
                words = {}

                def subscribed(_client, _data, _number, answers, properties):
                    codes.extend(code.value for code in answers)
                    words["subscribe"] = getattr(properties, "ReasonString", None)

                client.on_subscribe = subscribed
                client.on_message = lambda _client, _data, message: came.append((message.topic, message.payload))

                def published(_client, _data, number, code, properties):
                    acks[number] = code.value
                    words[number] = getattr(properties, "ReasonString", None)

                client.on_publish = published
                client.subscribe([("ask/a", 1), ("ask/no", 1), ("ask/low", 2), ("ask/other", 2), ("ask/drop", 1)])
                eventually(lambda: len(codes) == 5, "SUBACK")
                self.assertEqual(codes, [1, refused, 0, 2, 1])
                self.assertEqual(words["subscribe"], "filter 2: not you" if version == mqtt.MQTTv5 else None)
                for qos in (0, 1, 2):
                    came.clear()
                    sent = [client.publish(f"ask/{name}", f"{qos}", qos) for name in ("drop", "no", "other", "a")]
                    eventually(lambda: len(came) == 2, "what may be published")
                    self.assertEqual(sorted(came), [("ask/a", f"{qos}".encode()), ("ask/other", b"else")])
                    eventually(lambda: all(one.mid in acks for one in sent), "acknowledgements")
                    if version == mqtt.MQTTv5 and qos == 1:
                        self.assertEqual([acks[one.mid] for one in sent], [0, 0x87, 0, 0])
                        self.assertEqual([words[one.mid] for one in sent], [None, "not you", None, None])
                client.disconnect()
                self.assertEqual(self.back_end.faults, [])

    def test_streams(self):
        def status(path, channel):
            answer = requests.get(f"{self.url}/{path}", params={"channel": channel, "wait": 0}, stream=True, timeout=WAIT_S)
            answer.close()
            return answer.status_code

        def post(channel, **more):
            answer = requests.post(f"{self.url}/publish", params={"channel": channel}, data=b"x", timeout=WAIT_S, **more)
            return answer.status_code

        for path in ("sse", "ndjson", "poll"):
            self.assertEqual((status(path, "ask/a"), status(path, "ask/no")), (200, 403))
        with requests.get(f"{self.url}/sse", params={"channel": "ask/#"}, stream=True, timeout=WAIT_S) as stream:
            lines = stream.iter_lines(decode_unicode=True)
            self.assertEqual([post(f"ask/{name}") for name in ("drop", "no", "other", "a")], [200, 403, 200, 200])
            data = []
            while len(data) < 2:
                line = next(lines)
                # What the server says of the stream is an object.
                if line.startswith("data: ") and "{" not in line:
                    data.append(line)
            self.assertEqual(sorted(data), ["data: else", "data: x"])
        self.assertEqual(self.back_end.faults, [])

    def test_web_socket(self):
        made = connect(f"ws://{self.server.public}/ws", subprotocols=["cloudevents.json"], open_timeout=WAIT_S)
        client = Client(self.enterContext(made))
        client.until("stream.opened")
        for kind, done in (("subscribe", "channel.subscribed"), ("publish", "channel.published")):
            asked = client.say(kind, "ask/no", "x", datacontenttype="text/plain")
            refused, _ = client.until("refused")
            self.assertEqual((refused.get_attributes()["answers"], refused.get_data()["status"]), (asked, 403))
            client.say(kind, "ask/a", "x", datacontenttype="text/plain")
            client.until(done)
        self.assertEqual(self.back_end.faults, [])

    def test_socketio(self):
        one, other, came = socketio.Client(), socketio.Client(), []
        for client in (one, other):
            client.connect(self.url, transports=["websocket"], wait_timeout=WAIT_S)
            self.addCleanup(client.disconnect)
        other.on("*", lambda name, *args: came.append((name, args)))
        for name in ("no", "drop", "other", "a"):
            one.emit(name, ("x", 1))
        eventually(lambda: len(came) == 2, "what may be published")
        self.assertEqual(came, [("other", ("else",)), ("a", ("x", 1))])
        self.assertEqual(self.back_end.faults, [])


if __name__ == "__main__":
    unittest.main()
