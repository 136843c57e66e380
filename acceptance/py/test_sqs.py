"""boto3: every action, what comes when and in which order, and what each error is called; in JSON, and in the older Query
protocol, which boto3 speaks when the model of the service says so."""

import hashlib
import itertools
import json
import threading
import time
import unittest

import boto3
from botocore.config import Config

from .sut import ServerCase, counts, ours

REGION, ACCOUNT = "us-east-1", "000000000000"
names = itertools.count()


def name(word="q", fifo=False):
    return f"{word}-{next(names)}" + (".fifo" if fifo else "")


PREFIXED = (
    "BatchEntryIdsNotDistinct", "EmptyBatchRequest", "TooManyEntriesInBatchRequest", "MessageNotInflight", "PurgeQueueInProgress"
)
ERRORS = {name: f"AWS.SimpleQueueService.{name}" for name in PREFIXED} | {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
}


def as_query(model):
    """Gives the model what it had when clients spoke Query: how lists and maps are flattened, and the codes of errors."""
    model["metadata"] |= {"protocol": "query", "protocols": ["query"]}
    for action, operation in model["operations"].items():
        operation.get("output", {})["resultWrapper"] = f"{action}Result"
    for shape_name, shape in model["shapes"].items():
        if shape.get("exception") and shape_name in ERRORS:
            shape["error"] = {"code": ERRORS[shape_name], "httpStatusCode": 400, "senderFault": True}
        if shape["type"] == "list":
            shape["flattened"] = True
            item = {"MessageSystemAttributeList": "MessageSystemAttributeName"}
            shape["member"]["locationName"] = item.get(shape_name, shape_name.removesuffix("List"))
        if shape["type"] == "map":
            shape["flattened"] = True
            shape["key"]["locationName"] = "Key" if shape_name == "TagMap" else "Name"
            shape["value"]["locationName"] = "Value"
        for member_name, member in shape.get("members", {}).items():
            if member_name in ("Attributes", "MessageAttributes", "MessageSystemAttributes", "Tags", "tags"):
                member["locationName"] = member_name.removesuffix("s").replace("tag", "Tag")


@ours
class QueueCase(ServerCase):
    kind = "dev"
    protocol = "json"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sqs = cls.client()

    @classmethod
    def client(cls, **kwargs):
        config = Config(retries={"max_attempts": 0}, max_pool_connections=50)
        given = {"region_name": REGION, "aws_access_key_id": "x", "aws_secret_access_key": "y"}
        given |= {"endpoint_url": cls.server["privateUrl"]} | kwargs
        session = boto3.Session()
        loader = session._session.get_component("data_loader")
        load = loader.load_service_model

        def spoken(service, kind, api_version=None):
            model = load(service, kind, api_version)
            if service == "sqs" and kind == "service-2":
                if cls.protocol == "query":
                    as_query(model)
            return model

        loader.load_service_model = spoken
        return session.client("sqs", config=config, **given)

    def queue(self, fifo=False, **attributes):
        if fifo:
            attributes = {"FifoQueue": "true"} | attributes
        return self.sqs.create_queue(QueueName=name(fifo=fifo), Attributes=attributes)["QueueUrl"]

    def arn(self, url):
        return self.attributes(url, "QueueArn")["QueueArn"]

    def attributes(self, url, *wanted):
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(wanted) or ["All"])
        return answer["Attributes"]

    def counts(self, url):
        return counts(self.sqs, url)

    def send(self, url, body, **kwargs):
        return self.sqs.send_message(QueueUrl=url, MessageBody=body, **kwargs)

    def receive(self, url, **kwargs):
        wanted = {"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
        return self.sqs.receive_message(QueueUrl=url, **(wanted | kwargs)).get("Messages", [])

    def bodies(self, url, **kwargs):
        return [message["Body"] for message in self.receive(url, **kwargs)]

    def delete(self, url, message):
        self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def refused(self, error, action, **kwargs):
        with self.assertRaises(getattr(self.sqs.exceptions, error, self.sqs.exceptions.ClientError)) as caught:
            getattr(self.sqs, action)(**kwargs)
        return caught.exception.response["Error"]


class Queues(QueueCase):
    def test_created_found_listed_and_deleted(self):
        word = name("listed")
        urls = [self.sqs.create_queue(QueueName=f"{word}-{n}")["QueueUrl"] for n in range(5)]
        self.assertEqual(urls[0], f"{self.server['privateUrl']}/{ACCOUNT}/{word}-0")
        self.assertEqual(self.sqs.get_queue_url(QueueName=f"{word}-3")["QueueUrl"], urls[3])
        self.assertEqual(self.sqs.list_queues(QueueNamePrefix=word)["QueueUrls"], urls)
        pages = self.sqs.get_paginator("list_queues").paginate(
            QueueNamePrefix=word, PaginationConfig={"PageSize": 2}
        )
        self.assertEqual([page["QueueUrls"] for page in pages], [urls[:2], urls[2:4], urls[4:]])
        self.sqs.delete_queue(QueueUrl=urls[0])
        self.refused("QueueDoesNotExist", "get_queue_url", QueueName=f"{word}-0")
        self.assertEqual(self.sqs.list_queues(QueueNamePrefix=word)["QueueUrls"], urls[1:])
        self.assertNotIn("QueueUrls", self.sqs.list_queues(QueueNamePrefix="none-of-this"))

    def test_creating_again_is_the_same_queue_unless_an_attribute_differs(self):
        queue = name()
        first = self.sqs.create_queue(QueueName=queue, Attributes={"VisibilityTimeout": "7"})
        self.assertEqual(self.sqs.create_queue(QueueName=queue)["QueueUrl"], first["QueueUrl"])
        error = self.refused(
            "QueueNameExists", "create_queue", QueueName=queue, Attributes={"VisibilityTimeout": "8"}
        )
        self.assertIn("VisibilityTimeout", error["Message"])

    def test_attributes(self):
        url = self.queue(DelaySeconds="5")
        told = self.attributes(url)
        self.assertEqual(len(told), 12)
        self.assertEqual((told["DelaySeconds"], told["VisibilityTimeout"]), ("5", "30"))
        self.assertEqual(told["QueueArn"], f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rsplit('/', 1)[1]}")
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "60"})
        self.assertEqual(self.attributes(url, "VisibilityTimeout", "DelaySeconds"), {"VisibilityTimeout": "60", "DelaySeconds": "5"})
        self.refused("InvalidAttributeName", "set_queue_attributes", QueueUrl=url, Attributes={"Colour": "red"})
        self.refused("InvalidAttributeValue", "set_queue_attributes", QueueUrl=url, Attributes={"DelaySeconds": "901"})

    def test_tags_and_permissions(self):
        url = self.queue()
        self.sqs.tag_queue(QueueUrl=url, Tags={"team": "tea", "cost": "1"})
        self.sqs.tag_queue(QueueUrl=url, Tags={"team": "coffee"})
        self.assertEqual(self.sqs.list_queue_tags(QueueUrl=url)["Tags"], {"team": "coffee", "cost": "1"})
        self.sqs.untag_queue(QueueUrl=url, TagKeys=["team", "nothing"])
        self.assertEqual(self.sqs.list_queue_tags(QueueUrl=url)["Tags"], {"cost": "1"})
        permission = {"QueueUrl": url, "Label": "l", "AWSAccountIds": ["111122223333"], "Actions": ["SendMessage"]}
        self.sqs.add_permission(**permission)
        policy = json.loads(self.attributes(url)["Policy"])
        self.assertEqual(policy["Statement"][0]["Sid"], "l")
        self.refused("ClientError", "add_permission", **permission)
        self.sqs.remove_permission(QueueUrl=url, Label="l")
        self.assertNotIn("Policy", self.attributes(url))

    def test_a_queue_belongs_to_an_account_and_a_region(self):
        queue = name()
        self.sqs.create_queue(QueueName=queue)
        elsewhere = self.client(region_name="eu-west-1")
        with self.assertRaises(elsewhere.exceptions.QueueDoesNotExist):
            elsewhere.get_queue_url(QueueName=queue)
        other = self.client(aws_access_key_id="123456789012")
        self.assertIn("/123456789012/", other.create_queue(QueueName=queue)["QueueUrl"])

    def test_what_does_not_exist(self):
        gone = f"{self.server['privateUrl']}/{ACCOUNT}/never-there"
        for action, more in {
            "send_message": {"MessageBody": "x"},
            "receive_message": {},
            "purge_queue": {},
            "delete_queue": {},
            "delete_message": {"ReceiptHandle": "x"},
            "list_queue_tags": {},
            "get_queue_attributes": {"AttributeNames": ["All"]},
        }.items():
            with self.subTest(action):
                error = self.refused("QueueDoesNotExist", action, QueueUrl=gone, **more)
                self.assertEqual(error["Code"], "AWS.SimpleQueueService.NonExistentQueue")


class Messages(QueueCase):
    def test_a_message_with_everything(self):
        url, body = self.queue(), "Grüße \U0001f44b\r\n\t<&>"
        attributes = {
            "text": {"DataType": "String", "StringValue": "grün"},
            "number": {"DataType": "Number.int", "StringValue": "0042"},
            "bytes": {"DataType": "Binary.gzip", "BinaryValue": b"\x00\x01\xff"},
        }
        trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988"}}
        sent = self.send(url, body, MessageAttributes=attributes, MessageSystemAttributes=trace)
        self.assertEqual(sent["MD5OfMessageBody"], hashlib.md5(body.encode()).hexdigest())
        [got] = self.receive(url)
        self.assertEqual((got["Body"], got["MessageId"]), (body, sent["MessageId"]))
        self.assertEqual(got["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"])
        self.assertEqual(got["MessageAttributes"], attributes)
        told = got["Attributes"]
        self.assertEqual((told["ApproximateReceiveCount"], told["AWSTraceHeader"]), ("1", "Root=1-5759e988"))
        self.assertLess(abs(int(told["SentTimestamp"]) / 1000 - time.time()), 60)
        self.assertEqual(self.counts(url), (0, 1, 0))
        self.delete(url, got)
        self.delete(url, got)
        self.assertEqual(self.counts(url), (0, 0, 0))

    def test_batches_answer_for_each_entry(self):
        url = self.queue()
        entries = [{"Id": str(n), "MessageBody": f"m{n}"} for n in range(10)]
        answer = self.sqs.send_message_batch(QueueUrl=url, Entries=entries)
        self.assertEqual([entry["Id"] for entry in answer["Successful"]], [str(n) for n in range(10)])
        got = self.receive(url)
        self.assertEqual([message["Body"] for message in got], [f"m{n}" for n in range(10)])
        changes = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": 0} for n, m in enumerate(got)]
        answer = self.sqs.change_message_visibility_batch(QueueUrl=url, Entries=changes)
        self.assertEqual(len(answer["Successful"]), 10)
        got = self.receive(url)
        settled = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(got[:9])]
        settled.append({"Id": "bad", "ReceiptHandle": "garbage"})
        answer = self.sqs.delete_message_batch(QueueUrl=url, Entries=settled)
        self.assertEqual(len(answer["Successful"]), 9)
        [failed] = answer["Failed"]
        self.assertEqual((failed["Id"], failed["Code"], failed["SenderFault"]), ("bad", "ReceiptHandleIsInvalid", True))
        twice = [{"Id": "1", "MessageBody": "x"}] * 2
        self.refused("BatchEntryIdsNotDistinct", "send_message_batch", QueueUrl=url, Entries=twice)
        self.refused("EmptyBatchRequest", "send_message_batch", QueueUrl=url, Entries=[])

    def test_a_million_bytes_and_no_more(self):
        url = self.queue()
        self.send(url, "x" * 1_048_576)
        self.assertEqual([len(body) for body in self.bodies(url)], [1_048_576])
        self.refused("ClientError", "send_message", QueueUrl=url, MessageBody="x" * 1_048_577)
        small = self.queue(MaximumMessageSize="1024")
        error = self.refused("ClientError", "send_message", QueueUrl=small, MessageBody="x" * 1025)
        self.assertEqual(error["Code"], "InvalidParameterValue")

    def test_purge(self):
        url = self.queue()
        self.send(url, "seen")
        [got] = self.receive(url)
        self.send(url, "unseen")
        self.send(url, "later", DelaySeconds=900)
        self.sqs.purge_queue(QueueUrl=url)
        self.assertEqual(self.counts(url), (0, 0, 0))
        self.delete(url, got)

    def test_receipts(self):
        url, other = self.queue(), self.queue()
        self.send(url, "x")
        [got] = self.receive(url, VisibilityTimeout=0)
        [again] = self.receive(url)
        self.assertNotEqual(got["ReceiptHandle"], again["ReceiptHandle"])
        for target, handle in ((other, got["ReceiptHandle"]), (url, "garbage")):
            self.refused("ReceiptHandleIsInvalid", "delete_message", QueueUrl=target, ReceiptHandle=handle)
        self.delete(url, got)
        self.assertEqual(self.counts(url), (0, 0, 0))


class Time(QueueCase):
    def waits(self, url, **kwargs):
        """A long poll in a thread of its own; gives how long it took and what came."""
        got = []

        def run():
            began = time.monotonic()
            bodies = self.bodies(url, WaitTimeSeconds=20, **kwargs)
            got.append((time.monotonic() - began, bodies))

        thread = threading.Thread(target=run)
        thread.start()

        def result():
            thread.join(25)
            return got[0]

        return result

    def test_a_long_poll_is_woken_by_a_send(self):
        url = self.queue()
        result = self.waits(url)
        self.send(url, "now")
        took, bodies = result()
        self.assertEqual(bodies, ["now"])
        self.assertLess(took, 5)

    def test_a_long_poll_without_messages_ends_empty(self):
        began = time.monotonic()
        self.assertEqual(self.receive(self.queue(), WaitTimeSeconds=1), [])
        self.assertGreaterEqual(time.monotonic() - began, 1)

    def test_the_queue_says_how_long_a_receive_waits(self):
        began = time.monotonic()
        self.assertEqual(self.receive(self.queue(ReceiveMessageWaitTimeSeconds="1")), [])
        self.assertGreaterEqual(time.monotonic() - began, 1)

    def test_delay_and_deadline_wake_a_long_poll(self):
        url = self.queue(VisibilityTimeout="1")
        self.send(url, "late", DelaySeconds=1)
        self.assertEqual(self.counts(url), (0, 0, 1))
        took, bodies = self.waits(url)()
        self.assertEqual(bodies, ["late"])
        self.assertLess(took, 10)
        took, bodies = self.waits(url)()
        self.assertEqual(bodies, ["late"])
        self.assertLess(took, 10)

    def test_visibility_0_wakes_a_long_poll(self):
        url = self.queue()
        self.send(url, "back")
        [got] = self.receive(url)
        result = self.waits(url)
        self.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=0)
        self.assertEqual(result()[1], ["back"])

    def test_deletion_of_the_queue_ends_a_long_poll(self):
        url = self.queue()
        caught = []

        def run():
            try:
                self.receive(url, WaitTimeSeconds=20)
            except self.sqs.exceptions.QueueDoesNotExist as error:
                caught.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        self.sqs.delete_queue(QueueUrl=url)
        thread.join(25)
        self.assertEqual(len(caught), 1)

    def test_visibility_has_its_bounds(self):
        url = self.queue()
        self.send(url, "x")
        [got] = self.receive(url)
        change = {"QueueUrl": url, "ReceiptHandle": got["ReceiptHandle"]}
        error = self.refused("ClientError", "change_message_visibility", VisibilityTimeout=43200, **change)
        self.assertIn("Total VisibilityTimeout", error["Message"])
        self.sqs.change_message_visibility(VisibilityTimeout=0, **change)
        self.refused("MessageNotInflight", "change_message_visibility", VisibilityTimeout=1, **change)
        self.delete(url, got)
        error = self.refused("ClientError", "change_message_visibility", VisibilityTimeout=1, **change)
        self.assertEqual(error["Code"], "InvalidParameterValue")


class Fifo(QueueCase):
    def test_order_within_groups_and_locks(self):
        url = self.queue(fifo=True, ContentBasedDeduplication="true")
        numbers = [self.send(url, f"{g}{n}", MessageGroupId=g)["SequenceNumber"] for n in range(3) for g in "ab"]
        self.assertEqual(numbers, sorted(numbers))
        self.assertEqual({len(number) for number in numbers}, {20})
        first = self.receive(url, MaxNumberOfMessages=1)
        self.assertEqual([message["Body"] for message in first], ["a0"])
        self.assertEqual(self.bodies(url), ["b0", "b1", "b2"], "the other group is not held up")
        self.assertEqual(self.bodies(url), [])
        self.delete(url, first[0])
        self.assertEqual(self.bodies(url), ["a1", "a2"])

    def test_deduplication(self):
        url = self.queue(fifo=True)
        first = self.send(url, "one", MessageGroupId="g", MessageDeduplicationId="d")
        again = self.send(url, "two", MessageGroupId="g", MessageDeduplicationId="d")
        for key in ("MessageId", "SequenceNumber"):
            self.assertEqual(first[key], again[key])
        [got] = self.receive(url)
        self.assertEqual(got["Body"], "one")
        self.assertEqual(got["Attributes"]["MessageDeduplicationId"], "d")
        self.assertEqual(got["Attributes"]["MessageGroupId"], "g")
        self.delete(url, got)
        self.send(url, "three", MessageGroupId="g", MessageDeduplicationId="d")
        self.assertEqual(self.counts(url), (0, 0, 0), "after the deletion too")

    def test_what_a_fifo_queue_asks_for(self):
        url = self.queue(fifo=True)
        error = self.refused("ClientError", "send_message", QueueUrl=url, MessageBody="x", MessageDeduplicationId="d")
        self.assertEqual(error["Code"], "MissingParameter")
        error = self.refused("ClientError", "send_message", QueueUrl=url, MessageBody="x", MessageGroupId="g")
        self.assertIn("ContentBasedDeduplication", error["Message"])

    def test_an_attempt_gives_the_same_messages_again(self):
        url = self.queue(fifo=True, ContentBasedDeduplication="true")
        self.send(url, "x", MessageGroupId="g")
        [one], [two] = (self.receive(url, ReceiveRequestAttemptId="attempt") for _ in range(2))
        self.assertEqual((one["MessageId"], one["ReceiptHandle"]), (two["MessageId"], two["ReceiptHandle"]))

    def test_a_receipt_is_over_with_its_deadline(self):
        url = self.queue(fifo=True, ContentBasedDeduplication="true", VisibilityTimeout="1")
        self.send(url, "x", MessageGroupId="g")
        [got] = self.receive(url)
        [again] = self.receive(url, WaitTimeSeconds=10, VisibilityTimeout=30)
        error = self.refused("ClientError", "delete_message", QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
        self.assertIn("The receipt handle has expired", error["Message"])
        self.delete(url, again)


class DeadLetters(QueueCase):
    def pair(self, fifo=False):
        more = {"ContentBasedDeduplication": "true"} if fifo else {}
        dead = self.queue(fifo=fifo, **more)
        policy = json.dumps({"deadLetterTargetArn": self.arn(dead), "maxReceiveCount": 2})
        return self.queue(fifo=fifo, VisibilityTimeout="0", RedrivePolicy=policy, **more), dead

    def kill(self, url, body, **kwargs):
        sent = self.send(url, body, **kwargs)
        for _ in range(2):
            self.assertEqual(self.bodies(url), [body])
        self.assertEqual(self.bodies(url), [])
        return sent

    def test_received_too_often(self):
        for fifo in (False, True):
            with self.subTest(fifo=fifo):
                url, dead = self.pair(fifo)
                sent = self.kill(url, "poison", **({"MessageGroupId": "g"} if fifo else {}))
                [got] = self.receive(dead, WaitTimeSeconds=10)
                self.assertEqual((got["Body"], got["MessageId"]), ("poison", sent["MessageId"]))
                self.assertEqual(got["Attributes"]["DeadLetterQueueSourceArn"], self.arn(url))
                self.assertEqual(got["Attributes"]["ApproximateReceiveCount"], "3")
                self.assertEqual(self.sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"], [url])

    def test_moved_back(self):
        url, dead = self.pair()
        self.kill(url, "poison")
        [got] = self.receive(dead, WaitTimeSeconds=10, VisibilityTimeout=0)
        handle = self.sqs.start_message_move_task(SourceArn=self.arn(dead))["TaskHandle"]
        self.assertTrue(handle)
        [back] = self.receive(url, WaitTimeSeconds=10)
        self.assertEqual(back["Body"], got["Body"])
        self.assertNotEqual(back["MessageId"], got["MessageId"])
        [task] = self.sqs.list_message_move_tasks(SourceArn=self.arn(dead))["Results"]
        self.assertEqual((task["Status"], task["ApproximateNumberOfMessagesMoved"]), ("COMPLETED", 1))
        self.refused("ClientError", "cancel_message_move_task", TaskHandle=handle)

    def test_a_task_is_cancelled(self):
        url, dead = self.pair()
        for n in range(5):
            self.send(dead, f"m{n}")
        to = self.queue()
        handle = self.sqs.start_message_move_task(
            SourceArn=self.arn(dead), DestinationArn=self.arn(to), MaxNumberOfMessagesPerSecond=1
        )["TaskHandle"]
        error = self.refused("ClientError", "start_message_move_task", SourceArn=self.arn(dead))
        self.assertIn("already a task running", error["Message"])
        moved = self.sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
        self.assertLess(moved, 5)

    def test_what_cannot_be_moved(self):
        url = self.queue()
        self.refused("ClientError", "start_message_move_task", SourceArn=self.arn(url))
        nowhere = f"arn:aws:sqs:{REGION}:{ACCOUNT}:nowhere"
        self.refused("ResourceNotFoundException", "start_message_move_task", SourceArn=nowhere)
        policy = json.dumps({"deadLetterTargetArn": nowhere, "maxReceiveCount": 2})
        error = self.refused("ClientError", "set_queue_attributes", QueueUrl=url, Attributes={"RedrivePolicy": policy})
        self.assertIn("Dead letter target does not exist", error["Message"])


class Keys(QueueCase):
    settings = {
        "sqsListen": "127.0.0.1:0",
        "restKeys": ["0123456789abcdef"],
        "sqsCredentials": [
            {"key_id": "ALL", "secret": "all-all-all-all-"},
            {"key_id": "SOME", "secret": "some-some-some-s", "queues": ["some-*"], "actions": ["SendMessage", "ListQueues"]},
        ],
        "queues": [{"name": "some-queue"}, {"name": "other-queue"}],
    }

    def key(self, key_id, secret, **kwargs):
        return self.client(aws_access_key_id=key_id, aws_secret_access_key=secret, **kwargs)

    def code(self, call, **kwargs):
        with self.assertRaises(self.sqs.exceptions.ClientError) as caught:
            call(**kwargs)
        return caught.exception.response["Error"]["Code"]

    def test_signed_requests_on_both_ports(self):
        for url in (self.server["privateUrl"], self.server["sqsUrl"]):
            client = self.key("ALL", "all-all-all-all-", endpoint_url=url)
            queue = client.get_queue_url(QueueName="some-queue")["QueueUrl"]
            self.assertEqual(queue, f"{url}/{ACCOUNT}/some-queue")
            client.send_message(QueueUrl=queue, MessageBody="Grüße + %20 &=")

    def test_who_is_not_let_in(self):
        self.assertIn("SignatureDoesNotMatch", self.code(self.key("ALL", "wrong").list_queues))
        self.assertIn("InvalidClientTokenId", self.code(self.key("NOBODY", "all-all-all-all-").list_queues))

    def test_what_a_key_may_not(self):
        client = self.key("SOME", "some-some-some-s")
        self.assertEqual([url.rsplit("/", 1)[1] for url in client.list_queues()["QueueUrls"]], ["some-queue"])
        client.send_message(QueueUrl="some-queue", MessageBody="x")
        self.assertIn("AccessDenied", self.code(client.send_message, QueueUrl="other-queue", MessageBody="x"))
        self.assertIn("AccessDenied", self.code(client.receive_message, QueueUrl="some-queue"))


class QueryQueues(Queues):
    protocol = "query"


class QueryMessages(Messages):
    protocol = "query"


class QueryTime(Time):
    protocol = "query"


class QueryFifo(Fifo):
    protocol = "query"


class QueryDeadLetters(DeadLetters):
    protocol = "query"


class QueryKeys(Keys):
    protocol = "query"


if __name__ == "__main__":
    unittest.main()
