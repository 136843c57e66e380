"""Work on queues while the server is killed, by clients of boto3 and paho-mqtt.

Some send to a standard and a FIFO queue, one by one and in batches, each message until it is acknowledged; others receive and
delete. In the end every message that was acknowledged has come; none has come in a receive that began after its deletion was
acknowledged; in the FIFO queue none is there twice, though it was sent again whenever its fate was unknown, and each group came in
its order.

Others publish by MQTT what is copied: at QoS 1 into a standard queue, at QoS 2 into a FIFO queue. In the end every message that was
acknowledged has come, none that was not published, and in the FIFO queue none is there twice. `crash.py` has the server.
"""

import collections
import itertools
import json
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .crash_mqtt import SETTLE_S, Publisher
from .sut import counts

BOUND = """
[[queue]]
name = "copied"
visibility_timeout_seconds = 2
[[binding]]
filter = "crash/copied/#"
queue = "copied"
[[queue]]
name = "copied.fifo"
visibility_timeout_seconds = 2
[[binding]]
filter = "crash/copied.fifo/#"
queue = "copied.fifo"
"""
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

    def __init__(self, fifo, body_of=lambda message: message["Body"]):
        self.fifo, self.body_of, self.lock = fifo, body_of, threading.Lock()
        # Of each body the messages, which have ids; of each id when its deletion was acknowledged; of each group the last number.
        self.ids, self.deleted, self.last = collections.defaultdict(set), {}, {}
        self.receives, self.faults, self.bodies = 0, [], collections.Counter()

    def note(self, message, begun):
        with self.lock:
            self.receives += 1
            body, name = self.body_of(message), message["MessageId"]
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
    """A queue with those who receive from it."""

    def __init__(self, server, name, seen):
        self.sqs = QueueClient(server, "").sqs
        attributes = {"VisibilityTimeout": "2"} | ({"FifoQueue": "true"} if seen.fifo else {})
        self.url = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.name, self.seen = name, seen
        self.consumers = [Consumer(server, self.url, seen) for _ in range(2)]
        for client in self.consumers:
            client.start()

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
        self.stop_senders()
        acknowledged = self.acknowledged()
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


class Sent(Work):
    """What comes was sent to the queue."""

    def __init__(self, server, name, fifo):
        super().__init__(server, name, Seen(fifo))
        self.senders = [Sender(server, self.url, f"{name}{at}", self.seen) for at in range(2)]
        for client in self.senders:
            client.start()

    def stop_senders(self):
        self.stop(self.senders)

    def acknowledged(self):
        return [body for sender in self.senders for body in sender.acknowledged]

    def close(self):
        for client in self.senders + self.consumers:
            client.stopping = True


class Copied(Work):
    """What comes was published, and copied into the queue by a binding of the configuration."""

    def __init__(self, server, name, fifo, qos):
        super().__init__(server, name, Seen(fifo, lambda message: json.loads(message["Body"])["data"]))
        self.publishers = [CopiedPublisher(server, f"{name}/p{at}", version, qos, self.seen) for at, version in enumerate([4, 5])]

    def stop_senders(self):
        for publisher in self.publishers:
            publisher.finish()

    def acknowledged(self):
        return [payload.decode() for publisher in self.publishers for payload in publisher.acknowledged]

    def finish(self):
        told = super().finish()
        begun = {publisher.name: publisher.begun for publisher in self.publishers}
        strange = [body for body in self.seen.ids if int(body.rsplit(":", 1)[1]) >= begun[body.rsplit(":", 1)[0]]]
        assert not strange, f"{self.name}: nobody published {strange[:5]}"
        return told

    def close(self):
        for client in self.publishers:
            client.stopping = True
            client.disconnect()
            client.loop_stop()
        for client in self.consumers:
            client.stopping = True


class CopiedPublisher(Publisher):
    """Waits for receivers that are far behind."""

    def __init__(self, server, name, version, qos, seen):
        self.seen = seen
        super().__init__(server, name, version, qos)

    def is_ahead(self):
        return len(self.acknowledged) > self.seen.count(self.name) + AHEAD_MAX


def run(server, rounds, chance, progress):
    """What is told when nothing is wrong."""
    works = [Sent(server, "standard", fifo=False), Sent(server, "ordered.fifo", fifo=True)]
    works += [Copied(server, "copied", fifo=False, qos=1), Copied(server, "copied.fifo", fifo=True, qos=2)]
    try:
        for turn in range(rounds):
            time.sleep(chance.uniform(0.05, 0.6))
            server.kill()
            server.start()
            progress(f"round {turn + 1} of {rounds}, {sum(len(work.acknowledged()) for work in works)} messages acknowledged")
        time.sleep(0.5)
        return "; ".join(work.finish() for work in works)
    finally:
        for work in works:
            work.close()
