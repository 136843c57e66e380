// The AWS SDK for JavaScript v3, which checks digests itself and names errors as classes.
import assert from "node:assert/strict";
import {
  ChangeMessageVisibilityCommand, CreateQueueCommand, DeleteMessageBatchCommand, DeleteMessageCommand, DeleteQueueCommand,
  GetQueueAttributesCommand, GetQueueUrlCommand, ListQueuesCommand, PurgeQueueCommand, QueueDoesNotExist, QueueNameExists,
  ReceiptHandleIsInvalid, ReceiveMessageCommand, SQSClient, SendMessageBatchCommand, SendMessageCommand,
  StartMessageMoveTaskCommand, BatchEntryIdsNotDistinct, ResourceNotFoundException,
} from "@aws-sdk/client-sqs";
import { after } from "node:test";
import { ours, REFERENCE, shared } from "../lib/sut.mjs";

const server = REFERENCE ? undefined : await shared("dev");
const credentials = { accessKeyId: "x", secretAccessKey: "y" };
// Without an endpoint of its own for each queue: the SDK goes where the queue's URL says.
const sqs = server && new SQSClient({ endpoint: server.privateUrl, region: "us-east-1", credentials, maxAttempts: 1 });
after(() => sqs?.destroy());

const do_ = (Command, input) => sqs.send(new Command(input));
let count = 0;
const create = async (Attributes = {}) => {
  const QueueName = `js-${count++}${Attributes.FifoQueue ? ".fifo" : ""}`;
  return (await do_(CreateQueueCommand, { QueueName, Attributes })).QueueUrl;
};
const receive = async (QueueUrl, more) => {
  const wanted = { MaxNumberOfMessages: 10, MessageSystemAttributeNames: ["All"], MessageAttributeNames: ["All"] };
  return (await do_(ReceiveMessageCommand, { QueueUrl, ...wanted, ...more })).Messages;
};

ours("a message with attributes is as it was, by its digests, and gone once it is deleted", async () => {
  const QueueUrl = await create();
  const MessageBody = "Grüße \u{1F44B}\r\n<&>";
  const MessageAttributes = {
    text: { DataType: "String", StringValue: "grün" },
    bytes: { DataType: "Binary", BinaryValue: new Uint8Array([0, 1, 255]) },
  };
  const sent = await do_(SendMessageCommand, { QueueUrl, MessageBody, MessageAttributes });
  const [got] = await receive(QueueUrl);
  assert.equal(got.Body, MessageBody);
  assert.equal(got.MessageId, sent.MessageId);
  assert.equal(got.MD5OfMessageAttributes, sent.MD5OfMessageAttributes);
  assert.deepEqual([...got.MessageAttributes.bytes.BinaryValue], [0, 1, 255]);
  await do_(DeleteMessageCommand, { QueueUrl, ReceiptHandle: got.ReceiptHandle });
  const { Attributes } = await do_(GetQueueAttributesCommand, { QueueUrl, AttributeNames: ["All"] });
  assert.equal(Attributes.ApproximateNumberOfMessages, "0");
  assert.equal(await receive(QueueUrl), undefined);
});

ours("batches, visibility and purge", async () => {
  const QueueUrl = await create();
  const Entries = Array.from({ length: 10 }, (_, n) => ({ Id: `${n}`, MessageBody: `m${n}` }));
  assert.equal((await do_(SendMessageBatchCommand, { QueueUrl, Entries })).Successful.length, 10);
  const got = await receive(QueueUrl);
  assert.deepEqual(got.map((m) => m.Body), Entries.map((e) => e.MessageBody));
  await do_(ChangeMessageVisibilityCommand, { QueueUrl, ReceiptHandle: got[3].ReceiptHandle, VisibilityTimeout: 0 });
  assert.deepEqual((await receive(QueueUrl)).map((m) => m.Body), ["m3"]);
  const settled = got.slice(0, 2).map((m, n) => ({ Id: `${n}`, ReceiptHandle: m.ReceiptHandle }));
  const answer = await do_(DeleteMessageBatchCommand, { QueueUrl, Entries: [...settled, { Id: "bad", ReceiptHandle: "x" }] });
  assert.deepEqual(answer.Failed.map((f) => [f.Id, f.Code, f.SenderFault]), [["bad", "ReceiptHandleIsInvalid", true]]);
  await do_(PurgeQueueCommand, { QueueUrl });
  const { Attributes } = await do_(GetQueueAttributesCommand, { QueueUrl, AttributeNames: ["All"] });
  assert.equal(Attributes.ApproximateNumberOfMessagesNotVisible, "0");
});

ours("a long poll gets what comes, and a FIFO queue keeps its order", async () => {
  const QueueUrl = await create({ FifoQueue: "true", ContentBasedDeduplication: "true" });
  const waiting = receive(QueueUrl, { WaitTimeSeconds: 20 });
  const MessageGroupId = "g";
  const sent = await do_(SendMessageCommand, { QueueUrl, MessageBody: "one", MessageGroupId });
  const [first] = await waiting;
  assert.equal(first.Attributes.SequenceNumber, sent.SequenceNumber);
  await do_(SendMessageCommand, { QueueUrl, MessageBody: "two", MessageGroupId });
  assert.equal(await receive(QueueUrl), undefined, "the group is held up");
  await do_(DeleteMessageCommand, { QueueUrl, ReceiptHandle: first.ReceiptHandle });
  assert.deepEqual((await receive(QueueUrl)).map((m) => m.Body), ["two"]);
});

ours("errors are of the SDK's classes", async () => {
  const QueueUrl = await create({ VisibilityTimeout: "7" });
  const QueueName = QueueUrl.split("/").at(-1);
  const refused = (kind, Command, input) => assert.rejects(do_(Command, input), (error) => error instanceof kind);
  await refused(QueueDoesNotExist, GetQueueUrlCommand, { QueueName: "never-there" });
  await refused(QueueNameExists, CreateQueueCommand, { QueueName, Attributes: { VisibilityTimeout: "8" } });
  await refused(ReceiptHandleIsInvalid, DeleteMessageCommand, { QueueUrl, ReceiptHandle: "garbage" });
  const Entries = [{ Id: "1", MessageBody: "a" }, { Id: "1", MessageBody: "b" }];
  await refused(BatchEntryIdsNotDistinct, SendMessageBatchCommand, { QueueUrl, Entries });
  const SourceArn = "arn:aws:sqs:us-east-1:000000000000:never-there";
  await refused(ResourceNotFoundException, StartMessageMoveTaskCommand, { SourceArn });
  const listed = await do_(ListQueuesCommand, { QueueNamePrefix: QueueName });
  assert.deepEqual(listed.QueueUrls, [QueueUrl]);
  await do_(DeleteQueueCommand, { QueueUrl });
  await refused(QueueDoesNotExist, SendMessageCommand, { QueueUrl, MessageBody: "x" });
});
