"""The AWS CLI, with no special settings but the endpoint: what people type, and what scripts read."""

import json
import os
import subprocess
import unittest

from .sut import HERE, ServerCase, ours

# In an environment of its own, as it wants one very version of what boto3 is made of.
AWS = HERE / ".venv-awscli" / "bin" / "aws"


@ours
class CommandLine(ServerCase):
    kind = "dev"

    def aws(self, action, *arguments, fails=None):
        """What an action prints, as JSON; with `fails` its error, which must name that."""
        names = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}
        # Neither the configuration nor the pager of whoever runs the tests.
        names |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_PAGER": "", "PATH": os.environ["PATH"]}
        command = [str(AWS), "--endpoint-url", self.server["privateUrl"], "--output", "json", "sqs", action, *arguments]
        done = subprocess.run(command, env=names, capture_output=True, text=True, timeout=60)
        if fails:
            self.assertNotEqual(done.returncode, 0, done.stdout)
            self.assertIn(f"({fails})", done.stderr)
            return done.stderr
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def test_from_a_queue_to_its_end(self):
        url = self.aws("create-queue", "--queue-name", "orders", "--attributes", "VisibilityTimeout=97")["QueueUrl"]
        self.assertEqual(self.aws("get-queue-url", "--queue-name", "orders")["QueueUrl"], url)
        at = ["--queue-url", url]
        attributes = '{"kind":{"DataType":"String","StringValue":"grün"}}'
        sent = self.aws("send-message", *at, "--message-body", "Grüße <&>", "--message-attributes", attributes)
        entries = json.dumps([{"Id": str(n), "MessageBody": f"m{n}"} for n in range(3)])
        self.assertEqual(len(self.aws("send-message-batch", *at, "--entries", entries)["Successful"]), 3)
        got = self.aws("receive-message", *at, "--max-number-of-messages", "10", "--message-attribute-names", "All", "--attribute-names", "All")
        messages = got["Messages"]
        self.assertEqual([message["Body"] for message in messages], ["Grüße <&>", "m0", "m1", "m2"])
        self.assertEqual(messages[0]["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"])
        self.assertEqual(messages[0]["MessageAttributes"]["kind"]["StringValue"], "grün")
        self.assertIsNone(self.aws("receive-message", *at))
        self.assertIsNone(self.aws("delete-message", *at, "--receipt-handle", messages[0]["ReceiptHandle"]))
        self.aws("change-message-visibility", *at, "--receipt-handle", messages[1]["ReceiptHandle"], "--visibility-timeout", "0")
        self.assertEqual(self.aws("receive-message", *at)["Messages"][0]["Body"], "m0")
        told = self.aws("get-queue-attributes", *at, "--attribute-names", "All")["Attributes"]
        counts = (told["ApproximateNumberOfMessages"], told["ApproximateNumberOfMessagesNotVisible"], told["VisibilityTimeout"])
        self.assertEqual(counts, ("0", "3", "97"))
        self.aws("purge-queue", *at)
        self.aws("tag-queue", *at, "--tags", "team=tea")
        self.assertEqual(self.aws("list-queue-tags", *at)["Tags"], {"team": "tea"})
        self.assertEqual(self.aws("list-queues", "--queue-name-prefix", "ord")["QueueUrls"], [url])
        self.aws("delete-queue", *at)
        self.aws("send-message", *at, "--message-body", "x", fails="AWS.SimpleQueueService.NonExistentQueue")

    def test_fifo_dead_letters_and_back(self):
        dead = self.aws("create-queue", "--queue-name", "dead.fifo", "--attributes", "FifoQueue=true")["QueueUrl"]
        arn = self.aws("get-queue-attributes", "--queue-url", dead, "--attribute-names", "QueueArn")["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "1"})
        attributes = json.dumps({"FifoQueue": "true", "VisibilityTimeout": "0", "RedrivePolicy": policy})
        url = self.aws("create-queue", "--queue-name", "q.fifo", "--attributes", attributes)["QueueUrl"]
        at = ["--queue-url", url]
        sent = self.aws("send-message", *at, "--message-body", "one", "--message-group-id", "g", "--message-deduplication-id", "1")
        self.assertEqual(len(sent["SequenceNumber"]), 20)
        self.aws("send-message", *at, "--message-body", "two", fails="MissingParameter")
        self.assertEqual(self.aws("receive-message", *at)["Messages"][0]["Body"], "one")
        self.assertIsNone(self.aws("receive-message", *at))
        self.assertEqual(self.aws("list-dead-letter-source-queues", "--queue-url", dead)["queueUrls"], [url])
        self.assertEqual(self.aws("receive-message", "--queue-url", dead, "--visibility-timeout", "0")["Messages"][0]["Body"], "one")
        self.assertTrue(self.aws("start-message-move-task", "--source-arn", arn)["TaskHandle"])
        self.assertEqual(self.aws("receive-message", *at, "--wait-time-seconds", "20")["Messages"][0]["Body"], "one")
        self.assertEqual(self.aws("list-message-move-tasks", "--source-arn", arn)["Results"][0]["Status"], "COMPLETED")

    def test_errors_have_their_codes(self):
        self.aws("get-queue-url", "--queue-name", "never-there", fails="AWS.SimpleQueueService.NonExistentQueue")
        self.aws("create-queue", "--queue-name", "no such name", fails="InvalidParameterValue")
        url = self.aws("create-queue", "--queue-name", "errors")["QueueUrl"]
        self.aws("delete-message", "--queue-url", url, "--receipt-handle", "x", fails="ReceiptHandleIsInvalid")


if __name__ == "__main__":
    unittest.main()
