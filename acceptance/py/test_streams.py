"""Streams for plain HTTP with requests, without anything special."""

import json
import threading
import unittest

import requests

from .sut import ServerCase, ours

PATIENCE_S = 20


@ours
class Streams(ServerCase):
    kind = "mqtt"

    def publish(self, channel, body):
        answer = requests.post(f"{self.server['url']}/publish", params={"channel": channel}, data=body, timeout=PATIENCE_S)
        answer.raise_for_status()
        return answer.json()["position"]

    def test_lines_come_as_they_are_published_and_from_where_it_stopped(self):
        url = f"{self.server['url']}/ndjson"
        positions = []
        with requests.get(url, params={"channel": "log/py", "limit": 3}, stream=True, timeout=PATIENCE_S) as stream:
            self.assertEqual(stream.headers["content-type"], "application/x-ndjson")
            writer = threading.Thread(target=lambda: [self.publish("log/py", str(n)) for n in range(6)])
            writer.start()
            lines = [json.loads(line) for line in stream.iter_lines()]
            writer.join()
        messages = [line for line in lines if "channel" in line]
        self.assertEqual([message["data"] for message in messages], [0, 1, 2])
        after = messages[-1]["position"]
        more = {"channel": "log/py", "after": after, "limit": 3}
        with requests.get(url, params=more, stream=True, timeout=PATIENCE_S) as stream:
            lines = [json.loads(line) for line in stream.iter_lines()]
        self.assertEqual([line["data"] for line in lines if "channel" in line], [3, 4, 5])

    def test_events_are_as_the_standard_has_them(self):
        params = {"channel": "log/sse", "limit": 1}
        url = f"{self.server['url']}/sse"
        with requests.get(url, params=params, stream=True, timeout=PATIENCE_S) as stream:
            self.assertEqual(stream.headers["content-type"], "text/event-stream")
            position = self.publish("log/sse", "one\ntwo")
            text = stream.raw.read(decode_content=True).decode()
        self.assertTrue(text.startswith("retry: 2000\n\n"), text)
        self.assertTrue(text.endswith(f"id: {position}\ndata: one\ndata: two\n\n"), text)

    def test_a_poll_waits_and_says_where_a_lost_one_goes_on(self):
        url = f"{self.server['url']}/poll"
        start = requests.get(url, params={"channel": "log/poll", "wait": 0}, timeout=PATIENCE_S).json()
        self.assertEqual(start["messages"], [])
        timer = threading.Timer(0.05, self.publish, ("log/poll", "7"))
        timer.start()
        params = {"channel": "log/poll", "after": start["position"]}
        self.assertEqual(requests.get(url, params=params, timeout=PATIENCE_S).json()["messages"][0]["data"], 7)
        lost = requests.get(url, params={"channel": "log/poll", "after": "1-1"}, timeout=PATIENCE_S)
        self.assertEqual((lost.status_code, lost.json()["code"]), (410, "position-lost"))


if __name__ == "__main__":
    unittest.main()
