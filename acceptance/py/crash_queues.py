"""Work on queues while the server is killed, by clients of boto3.

Some send to a standard and a FIFO queue, one by one and in batches, each message until it is acknowledged; others receive and
delete. In the end every message that was acknowledged has come; none has come in a receive that began after its deletion was
acknowledged; in the FIFO queue none is there twice, though it was sent again whenever its fate was unknown, and each group came in
its order. `crash.py` has the server.
"""

import collections
import itertools
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .sut import counts

SETTLE_S = 90
# A sender waits for receivers that are so many messages behind: what is left in the end is to be received in time.
AHEAD_MAX = 200


class QueueClient(threading.Thread):
    """Works until it is told to stop. What nobody answered is tried again."""

    def __init__(self, server, url):
        super().__init__(daemon=True)
        config = Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=30)
        names = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "y"}
        self.sqs = boto3.client("sqs", endpoint_url=f"http://{server.private}", config=config, **names)
        self.url, self.stopping, self.trouble = url, False, None

    def run(self):
        try:
            while not self.stopping:
                self.work()
        except BaseException as trouble:
            self.trouble = trouble

    def until_answered(self, call, **input):
        """The answer, however often it takes."""
        while True:
            try:
                return call(QueueUrl=self.url, **input)
            except (BotoCoreError, ClientError) as error:
                if isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                    raise
                time.sleep(0.02)

    def check(self):
        if self.trouble:
            raise self.trouble


class Sender(QueueClient):
    """Sends numbers, each until it is acknowledged, so that those of a group are in order."""

    def __init__(self, server, url, name, seen):
        super().__init__(server, url)
        self.name, self.seen, self.fifo = name, seen, seen.fifo
        self.numbers, self.acknowledged = itertools.count(), []

    def message(self, number):
        body = f"{self.name}:{number % 3}:{number}"
        return {"MessageBody": body} | ({"MessageGroupId": f"{self.name}:{number % 3}", "MessageDeduplicationId": body} if self.fifo else {})

    def work(self):
        if len(self.acknowledged) > self.seen.count(self.name) + AHEAD_MAX:
            return time.sleep(0.01)
        number = next(self.numbers)
        if number % 4:
            message = self.message(number)
            self.until_answered(self.sqs.send_message, **message)
            self.acknowledged.append(message["MessageBody"])
            return
        entries = [self.message(n) | {"Id": str(n)} for n in [number] + [next(self.numbers) for _ in range(7)]]
        while entries:
            taken = self.until_answered(self.sqs.send_message_batch, Entries=entries).get("Successful", [])
            done = {entry["Id"] for entry in taken}
            self.acknowledged += [entry["MessageBody"] for entry in entries if entry["Id"] in done]
            entries = [entry for entry in entries if entry["Id"] not in done]


class Seen:
    """What all receivers of a queue have seen."""

    def __init__(self, fifo):
        self.fifo, self.lock = fifo, threading.Lock()
        # Of each body the messages, which have ids; of each id when its deletion was acknowledged; of each group the last number.
        self.ids, self.deleted, self.last = collections.defaultdict(set), {}, {}
        self.receives, self.faults, self.bodies = 0, [], collections.Counter()

    def note(self, message, begun):
        with self.lock:
            self.receives += 1
            body, name = message["Body"], message["MessageId"]
            if self.deleted.get(name, begun) < begun:
                self.faults.append(f"{body} was received after it was deleted")
            if self.fifo and body not in self.ids:
                group, number = body.rsplit(":", 1)
                if self.last.get(group, -1) > int(number):
                    self.faults.append(f"{body} came after number {self.last[group]} of its group")
                self.last[group] = int(number)
            if body not in self.ids:
                self.bodies[body.split(":")[0]] += 1
            self.ids[body].add(name)

    def count(self, sender):
        """Messages of a sender that have come."""
        return self.bodies[sender]

    def gone(self, names):
        with self.lock:
            self.deleted.update((name, time.monotonic()) for name in names)

    def missing(self, acknowledged):
        with self.lock:
            return [body for body in acknowledged if body not in self.ids]


class Consumer(QueueClient):
    """Receives and deletes; what was not deleted comes again."""

    def __init__(self, server, url, seen):
        super().__init__(server, url)
        self.seen, self.turns = seen, 0

    def work(self):
        self.turns += 1
        begun = time.monotonic()
        try:
            answer = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        except (BotoCoreError, ClientError):
            return time.sleep(0.02)
        messages = answer.get("Messages", [])
        for message in messages:
            self.seen.note(message, begun)
        if self.turns % 20 and messages:
            self.delete(messages)

    def delete(self, messages):
        """Once: whether it was done is not known when nobody answers."""
        try:
            if len(messages) == 1:
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=messages[0]["ReceiptHandle"])
                return self.seen.gone([messages[0]["MessageId"]])
            entries = [{"Id": str(at), "ReceiptHandle": m["ReceiptHandle"]} for at, m in enumerate(messages)]
            taken = self.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries).get("Successful", [])
            self.seen.gone([messages[int(entry["Id"])]["MessageId"] for entry in taken])
        except (BotoCoreError, ClientError):
            time.sleep(0.02)


class Work:
    """A queue with those who work on it."""

    def __init__(self, server, name, fifo):
        attributes = {"VisibilityTimeout": "2"} | ({"FifoQueue": "true"} if fifo else {})
        self.sqs = QueueClient(server, "").sqs
        self.url = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.name, self.seen = name, Seen(fifo)
        self.senders = [Sender(server, self.url, f"{name}{at}", self.seen) for at in range(2)]
        self.consumers = [Consumer(server, self.url, self.seen) for _ in range(2)]
        for client in self.senders + self.consumers:
            client.start()

    def taken(self):
        return sum(len(sender.acknowledged) for sender in self.senders)

    def stored(self):
        return sum(counts(self.sqs, self.url))

    def stop(self, clients):
        for client in clients:
            client.stopping = True
        for client in clients:
            client.join(SETTLE_S)
            client.check()
            assert not client.is_alive(), f"{self.name}: a client is never answered"

    def finish(self):
        """What is told when nothing is wrong."""
        self.stop(self.senders)
        acknowledged = [body for sender in self.senders for body in sender.acknowledged]
        end = time.monotonic() + SETTLE_S
        while ((missing := self.seen.missing(acknowledged)) or (stored := self.stored())) and time.monotonic() < end:
            time.sleep(0.1)
        self.stop(self.consumers)
        assert not missing, f"{self.name}: {len(missing)} of {len(acknowledged)} are lost: {missing[:5]}"
        assert not stored, f"{self.name}: {stored} messages are there still"
        assert not self.seen.faults, f"{self.name}: {self.seen.faults[:5]}"
        twice = {body: names for body, names in self.seen.ids.items() if len(names) > 1}
        assert not (self.seen.fifo and twice), f"{self.name}: {len(twice)} are there twice: {list(twice.items())[:3]}"
        return f"{self.name}: {len(acknowledged)} acknowledged, 0 lost, {len(twice)} taken twice, {self.seen.receives} receives"


def run(server, rounds, chance, progress):
    """What is told when nothing is wrong."""
    works = [Work(server, "standard", fifo=False), Work(server, "ordered.fifo", fifo=True)]
    try:
        for turn in range(rounds):
            time.sleep(chance.uniform(0.05, 0.6))
            server.kill()
            server.start()
            progress(f"round {turn + 1} of {rounds}, {sum(work.taken() for work in works)} messages acknowledged")
        time.sleep(0.5)
        return "; ".join(work.finish() for work in works)
    finally:
        for client in [client for work in works for client in work.senders + work.consumers]:
            client.stopping = True
