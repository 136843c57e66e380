"""The example `queue-worker`: events of Socket.IO clients go through a queue to a worker with boto3, which answers over REST."""

import json
import subprocess
import sys
import tempfile
import unittest

import boto3
import paho.mqtt.publish
import socketio

from .killed import Server
from .sut import BINARY, HERE, WAIT_S, Inbox, counts, eventually, ours

EXAMPLE = HERE.parent / "examples" / "queue-worker"
ORDER = {"id": 7, "items": [{"name": "tea", "price": 4, "count": 2}, {"name": "cup", "price": 5, "count": 1}]}


@ours
class Worker(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        config = (EXAMPLE / "trunkline.toml").read_text()
        self.server = Server(BINARY, folder.name, ["server.drain_window_ms=0"], config, word="serve")
        self.addCleanup(self.server.close)
        self.sqs = boto3.client(
            "sqs",
            endpoint_url=f"http://{self.server.private}",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )

    @staticmethod
    def end(process):
        process.terminate()
        process.wait(timeout=20)

    def worker(self):
        """A running worker, killed at the end of the test."""
        command = [sys.executable, EXAMPLE / "worker.py", "--server", f"http://{self.server.private}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(self.end, process)
        self.assertIn("waiting for events", process.stdout.readline())
        return process

    def stored(self, queue):
        """Messages in a queue, received or not."""
        url = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        return sum(counts(self.sqs, url))

    def client(self):
        client = socketio.Client()
        self.addCleanup(client.disconnect)
        inbox = Inbox(client)
        client.connect(f"http://{self.server.public}", transports=["websocket"], wait_timeout=WAIT_S)
        return client, inbox

    def test_orders_are_answered_and_none_is_lost_without_a_worker(self):
        client, inbox = self.client()
        # Stored before anybody is there to handle it.
        self.assertIsNone(client.call("order", ORDER, timeout=WAIT_S))
        first = self.worker()
        self.assertEqual(inbox.next("accepted"), ({"order": 7, "total": 13},))
        # What is not deleted would come again, before anything else of this client.
        eventually(lambda: self.stored("orders.fifo") == 0, "the event is deleted")
        # What the killed worker was given in that moment comes again after this time.
        url = self.sqs.get_queue_url(QueueName="orders.fifo")["QueueUrl"]
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "3"})
        first.kill()
        first.wait()
        client.emit("something else")
        for number in range(20):
            self.assertIsNone(client.call("order", ORDER | {"id": number}, timeout=WAIT_S))
        self.worker()
        # At least once, and in the order of the client.
        answers = []
        while len(answers) < 20:
            order = inbox.next("accepted")[0]["order"]
            answers += [] if order in answers else [order]
        self.assertEqual(answers, list(range(20)))

    def test_what_is_published_on_a_bound_channel_is_in_its_queue(self):
        host, port = self.server.address
        paho.mqtt.publish.single("telemetry/7", '{"celsius": 21}', qos=1, hostname=host, port=port)
        url = self.sqs.get_queue_url(QueueName="telemetry")["QueueUrl"]
        event = json.loads(self.sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"])
        self.assertEqual((event["type"], event["subject"]), ("trunkline.channel.message", "telemetry/7"))
        self.assertEqual(event["data"], {"celsius": 21})

    def test_what_was_acknowledged_survives_a_kill(self):
        acknowledged = []
        for first in range(0, 60, 20):
            client, _ = self.client()
            # Many at once, so that some are on their way when it is killed.
            for number in range(first, first + 20):
                client.emit("order", ORDER | {"id": number}, callback=lambda number=number: acknowledged.append(number))
            eventually(lambda: any(number >= first + 3 for number in acknowledged), "some are acknowledged")
            self.server.kill()
            client.disconnect()
            self.server.start()
        url = self.sqs.get_queue_url(QueueName="orders.fifo")["QueueUrl"]
        stored = []
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages"):
            stored += [json.loads(message["Body"])["data"][0]["id"] for message in messages]
            for message in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        self.assertEqual(sorted(set(acknowledged) - set(stored)), [], "acknowledged and not stored")
        self.assertEqual(len(stored), len(set(stored)), "none is there twice")
