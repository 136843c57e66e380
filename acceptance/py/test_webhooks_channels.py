"""What a back end is told of channels and users, with clients (paho-mqtt) and libraries (standardwebhooks, cloudevents) that others wrote."""

import json
import unittest
import urllib.request

import paho.mqtt.client as mqtt

from . import test_webhooks as hooks
from .sut import WAIT_S, eventually, ours

TYPES = [
    "session.event",
    "user.online",
    "user.offline",
    "channel.occupied",
    "channel.vacated",
    "channel.subscribed",
    "channel.unsubscribed",
]


@ours
class Channels(hooks.HookCase):
    def setUp(self):
        config = """
            [auth]
            mode = "anonymous"
            [[mqtt.user]]
            name = "ada"
            password = "pencil"
            """
        hook = f"""
            types = {json.dumps(TYPES)}
            filters = ["chat/#"]
            offline_after_ms = 1000
            vacated_after_ms = 1000
            """
        self.begin(config, hook)

    def client(self, version=mqtt.MQTTv5):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=version)
        client.username_pw_set("ada", "pencil")
        client.connect(*self.server.address)
        client.loop_start()
        self.addCleanup(client.loop_stop)
        eventually(client.is_connected, "CONNACK")
        return client

    def test_users_channels_subscriptions_and_publishes(self):
        for version in (mqtt.MQTTv311, mqtt.MQTTv5):
            with self.subTest(version=version):
                self.back_end.events.clear()
                client = self.client(version)
                client.subscribe("chat/1", 1)
                client.publish("chat/1", json.dumps({"text": "\u00fc"}), 1).wait_for_publish(WAIT_S)
                client.publish("chat/2", b"\x00\xff", 2).wait_for_publish(WAIT_S)
                client.publish("other", b"no", 1).wait_for_publish(WAIT_S)
                eventually(lambda: len(self.back_end.events) >= 5, "what happened so far")
                client.disconnect()
                eventually(lambda: self.told("user.offline") and self.told("channel.vacated"), "the end")
                eventually(lambda: self.told("channel.unsubscribed"), "the end of the subscription")
                self.assertEqual(self.back_end.faults, [])
                first, second = self.told("session.event")
                self.assertEqual((first.get_subject(), first.get_data()), ("chat/1", {"text": "\u00fc"}))
                self.assertEqual((second.get_subject(), second.get_data()), ("chat/2", b"\x00\xff"))
                session = first.get_attributes()["sessionid"]
                for event in (first, second, *self.told("channel.subscribed")):
                    self.assertEqual(event.get_source(), f"/sessions/{session}")
                    self.assertEqual(event.get_attributes()["userid"], "ada")
                [joined], [left] = self.told("channel.subscribed"), self.told("channel.unsubscribed")
                self.assertEqual(joined.get_data(), {"channel": "chat/1", "cause": "client", "qos": 1})
                self.assertEqual(left.get_data(), {"channel": "chat/1", "cause": "client"})
                for kind, key in (("user.online", "ada"), ("user.offline", "ada"),
                                  ("channel.occupied", "chat/1"), ("channel.vacated", "chat/1")):
                    [event] = self.told(kind)
                    self.assertEqual((event.get_subject(), event.get_attributes()["partitionkey"]), (key, key))

    def test_what_is_posted(self):
        body = b'{"a":1}'
        request = urllib.request.Request(f"http://{self.server.public}/publish?channel=chat/9&event=say", data=body, method="POST")
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            self.assertEqual(answer.status, 200)
        eventually(lambda: self.told("session.event"), "the event")
        [event] = self.told("session.event")
        self.assertEqual((event.get_data(), event.get_attributes()["event"]), ({"a": 1}, "say"))

    def test_after_a_kill_nobody_is_left_online_and_nothing_acknowledged_is_lost(self):
        client = self.client()
        client.subscribe("chat/1", 1)
        eventually(lambda: self.told("user.online") and self.told("channel.occupied"), "the beginning")
        for number in range(20):
            client.publish("chat/1", str(number), 1).wait_for_publish(WAIT_S)
        # It does not come back.
        client.loop_stop()
        self.server.kill()
        self.server.start()
        eventually(lambda: self.told("user.offline") and self.told("channel.vacated"), "word of the end")
        eventually(lambda: len(self.told("session.event")) == 20, "all that was acknowledged")
        self.assertEqual([event.get_data() for event in self.told("session.event")], list(range(20)))
        self.assertEqual(self.back_end.faults, [])


if __name__ == "__main__":
    unittest.main()
