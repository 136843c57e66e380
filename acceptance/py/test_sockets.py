"""Streams in WebSockets with the packages websockets and cloudevents."""

import json
import unittest

import requests
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from .sut import WAIT_S, ServerCase, ours

FORMAT = JSONFormat()


class Client:
    """One WebSocket, whose frames the package reads and writes."""

    def __init__(self, socket):
        self.socket, self.number = socket, 0

    def hear(self):
        return FORMAT.read(CloudEvent, self.socket.recv(timeout=WAIT_S))

    def say(self, kind, subject, data=None, **attributes):
        self.number += 1
        base = {"id": str(self.number), "source": "/py", "type": f"trunkline.channel.{kind}", "subject": subject}
        self.socket.send(FORMAT.write(CloudEvent({**base, **attributes}, data)).decode())
        return str(self.number)

    def until(self, kind):
        """The next event of this type, and those before it."""
        before = []
        while True:
            event = self.hear()
            if event.get_type() == f"trunkline.{kind}":
                return event, before
            before.append(event)


@ours
class Sockets(ServerCase):
    kind = "mqtt"

    def client(self, query=""):
        url = self.server["url"].replace("http", "ws", 1)
        made = connect(f"{url}/ws{query}", subprotocols=["cloudevents.json"], open_timeout=WAIT_S)
        return Client(self.enterContext(made))

    def publish(self, channel, body):
        answer = requests.post(f"{self.server['url']}/publish", params={"channel": channel}, data=body, timeout=WAIT_S)
        answer.raise_for_status()
        return answer.json()["position"]

    def test_events_both_ways(self):
        one, other = self.client("?channel=log/py-both"), self.client()
        self.assertEqual(one.socket.subprotocol, "cloudevents.json")
        one.until("stream.opened")
        asked = other.say("publish", "log/py-both", {"t": "hi"}, event="say", datacontenttype="application/json")
        published, _ = other.until("channel.published")
        self.assertEqual(published.get_attributes()["answers"], asked)
        message, _ = one.until("channel.message")
        self.assertEqual((message.get_subject(), message.get_source()), ("log/py-both", "/channels"))
        self.assertEqual((message.get_data(), message.get_extension("event")), ({"t": "hi"}, "say"))
        self.assertEqual(message.get_extension("position"), published.get_data()["position"])

    def test_bytes_stay_bytes(self):
        client = self.client("?channel=log/py-bytes")
        client.say("publish", "log/py-bytes", b"\x00\xff", datacontenttype="image/png")
        message, _ = client.until("channel.message")
        self.assertEqual((message.get_data(), message.get_datacontenttype()), (b"\x00\xff", "image/png"))

    def test_whoever_comes_back_goes_on_where_it_was(self):
        client = self.client("?channel=log/py-back")
        client.until("stream.opened")
        self.publish("log/py-back", "1")
        last = client.until("channel.message")[0].get_extension("position")
        client.socket.close()
        for n in range(2, 5):
            self.publish("log/py-back", str(n))
        again = self.client()
        again.until("stream.opened")
        again.say("subscribe", "log/py-back", after=last)
        subscribed, missed = again.until("channel.subscribed")
        self.assertEqual([event.get_data() for event in missed], [2, 3, 4])
        self.assertEqual(subscribed.get_data()["recovered"], True)
        again.say("unsubscribe", "log/py-back")
        again.until("channel.unsubscribed")

    def test_refusals_are_events_and_statuses(self):
        client = self.client()
        asked = client.say("publish", "log/+", 1, datacontenttype="application/json")
        refused, _ = client.until("refused")
        self.assertEqual((refused.get_attributes()["answers"], refused.get_data()["code"]), (asked, "invalid-channel"))
        client.socket.send(b"bytes")
        with self.assertRaises(ConnectionClosed) as closed:
            client.socket.recv(timeout=WAIT_S)
            client.socket.recv(timeout=WAIT_S)
        self.assertEqual(closed.exception.rcvd.code, 1003)
        with self.assertRaises(InvalidStatus) as refused:
            self.client("?channel=%24user/7")
        self.assertEqual(refused.exception.response.status_code, 403)

    def test_pings_are_answered(self):
        client = self.client()
        self.assertTrue(client.socket.ping().wait(WAIT_S))


if __name__ == "__main__":
    unittest.main()
