// Subscriptions: codes, wildcards, overlap, options, identifiers.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { connect, exactly, hex, name, payloads, quiet, recent } from "../lib/mqtt.mjs";

const server = await shared("mqtt", { shards: 4 });
const flags = (m) => [m.payload.toString(), m.qos, m.retain];
const ids = (m) => [m.properties?.subscriptionIdentifier ?? []].flat().sort((a, b) => a - b);

both("SUBACK has a code per filter, in order", async (t) => {
  for (const [version, expected] of [[3, "90 05 00 01 02 00 01"], [4, "90 05 00 01 02 00 01"], [5, "90 06 00 01 00 02 00 01"]]) {
    const client = await connect(t, server, { version });
    const suback = await client.subscribe([2, 0, 1].map((qos) => ({ topic: name(), qos })));
    assert.equal(hex(suback.raw), expected);
  }
});

both("UNSUBACK: 5.0 says what existed, 3.1.1 has no codes", async (t) => {
  for (const [version, expected] of [[4, "b0 02 00 02"], [5, "b0 05 00 02 00 00 11"]]) {
    const client = await connect(t, server, { version });
    const topic = name();
    await client.subscribe(topic);
    assert.equal(hex((await client.unsubscribe(topic, name("no"))).raw), expected);
  }
});

both("after UNSUBACK nothing comes, other subscriptions stay", async (t) => {
  const [a, b] = [name("a"), name("b")];
  const [client, other] = [await connect(t, server), await connect(t, server)];
  await client.subscribe([a, b], { qos: 1 });
  await client.unsubscribe(a);
  await other.publish(a, "gone", { qos: 1 });
  await other.publish(b, "here", { qos: 1 });
  assert.deepEqual(payloads(await exactly(client, 1, other)), ["here"]);
});

both("UNSUBSCRIBE compares byte by byte", async (t) => {
  const topic = name();
  const client = await connect(t, server);
  await client.subscribe(`${topic}/#`);
  assert.deepEqual((await client.unsubscribe(`${topic}/+`, topic, `${topic}/`)).granted, [0x11, 0x11, 0x11]);
  await client.publish(`${topic}/x`, "still");
  assert.equal((await client.message()).payload.toString(), "still");
});

// Filters over topics below one level of their own; "" stands for that level alone.
const TOPICS = ["", "/a", "/a/b", "/a/b/c", "//b", "/", "//", "/A", "/a b", "/a/", "/é"];
for (const [filter, matching] of [
  ["/#", TOPICS],
  ["/+", ["/a", "/", "/A", "/a b", "/é"]],
  ["/+/+", ["/a/b", "//b", "//", "/a/"]],
  ["/a/#", ["/a", "/a/b", "/a/b/c", "/a/"]],
  ["/a/+", ["/a/b", "/a/"]],
  ["/+/b", ["/a/b", "//b"]],
  ["/+/b/#", ["/a/b", "/a/b/c", "//b"]],
  ["/a", ["/a"]],
  ["//b", ["//b"]],
  ["/", ["/"]],
  ["/a b", ["/a b"]],
  ["/+/+/+", ["/a/b/c"]],
  ["/é", ["/é"]],
]) {
  both(`filter ${filter}`, async (t) => {
    const root = name("root");
    const [client, other] = [await connect(t, server), await connect(t, server, { version: 4 })];
    assert.deepEqual((await client.subscribe(root + filter, { qos: 1 })).granted, [1]);
    for (const topic of TOPICS) await other.publish(root + topic, "x", { qos: 1 });
    const messages = await exactly(client, matching.length, other);
    assert.deepEqual(messages.map((m) => m.topic.slice(root.length)).sort(), [...matching].sort());
  });
}

both("wildcards at the start: # and + and +/x see no $ names, literals do", async (t) => {
  const root = name("d");
  const clients = {};
  for (const filter of ["#", "+/" + root, `$own/${root}`, "$own/#"]) {
    clients[filter] = await connect(t, server);
    await clients[filter].subscribe(filter, { qos: 1 });
  }
  const other = await connect(t, server);
  await other.publish(`$own/${root}`, "dollar", { qos: 1 });
  await other.publish(`x/${root}`, "plain", { qos: 1 });
  const seen = {};
  for (const [filter, client] of Object.entries(clients)) {
    const first = await client.take((p) => p.topic?.endsWith(root));
    await quiet(client, other);
    seen[filter] = payloads([first, ...client.rest().filter((m) => m.topic.endsWith(root))]);
  }
  assert.deepEqual(seen, { "#": ["plain"], [`+/${root}`]: ["plain"], [`$own/${root}`]: ["dollar"], "$own/#": ["dollar"] });
});

both("a leading / is an empty level", async (t) => {
  const root = name();
  const client = await connect(t, server);
  await client.subscribe([{ topic: `/${root}` }, { topic: `+/${root}/+` }]);
  await client.publish(root, "no");
  await client.publish(`/${root}`, "yes");
  await client.publish(`/${root}/`, "empty levels");
  assert.deepEqual(payloads(await client.messages(2)).sort(), ["empty levels", "yes"]);
});

both("overlap: each subscriber gets at least one copy at the highest QoS", async (t) => {
  const root = name();
  const [client, other] = [await connect(t, server), await connect(t, server)];
  await client.subscribe([{ topic: `${root}/#`, qos: 0 }, { topic: `${root}/a`, qos: 2 }, { topic: `${root}/+`, qos: 1 }]);
  await other.publish(`${root}/a`, "x", { qos: 2 });
  assert.equal(Math.max(...(await exactly(client, 1, other)).map((m) => m.qos)), 2);
});

ours("overlap: one copy, highest QoS, all identifiers, equal ones too", async (t) => {
  const root = name();
  const [client, other] = [await connect(t, server), await connect(t, server)];
  await client.subscribe(`${root}/#`, { qos: 0, id: 1 });
  await client.subscribe(`${root}/a`, { qos: 2, id: 268_435_455 });
  await client.subscribe(`${root}/+`, { qos: 1, id: 7 });
  await client.subscribe(`${root}/a/#`, { qos: 1, id: 7 });
  await client.subscribe("+/a", { qos: 1 });
  await other.publish(`${root}/a`, "x", { qos: 2 });
  const message = await client.message();
  assert.deepEqual([message.qos, ids(message)], [2, [1, 7, 7, 268_435_455]]);
  await quiet(client, other);
  assert.deepEqual(client.rest(), []);
});

ours("overlap in 3.1.1: one copy at the highest QoS", async (t) => {
  const root = name();
  const [client, other] = [await connect(t, server, { version: 4 }), await connect(t, server, { version: 4 })];
  await client.subscribe([{ topic: `${root}/#`, qos: 2 }, { topic: `${root}/+`, qos: 1 }]);
  await other.publish(`${root}/a`, "x", { qos: 2 });
  assert.deepEqual((await exactly(client, 1, other)).map(flags), [["x", 2, false]]);
});

both("identifiers 1 and 268,435,455 come back; without one there is none", async (t) => {
  for (const [id, expected] of [[1, [1]], [127, [127]], [128, [128]], [268_435_455, [268_435_455]], [undefined, []]]) {
    const topic = name();
    const client = await connect(t, server);
    await client.subscribe(topic, { qos: 1, id });
    await client.publish(topic, "x", { qos: 1 });
    assert.deepEqual(ids(await client.message()), expected);
  }
});

recent("the same filter again replaces QoS, options and identifier", async (t) => {
  const topic = name();
  const [client, other] = [await connect(t, server), await connect(t, server)];
  await client.subscribe(topic, { qos: 2, id: 5 });
  await other.publish(topic, "first", { qos: 2 });
  const messages = [await client.message()];
  await client.subscribe(topic, { qos: 0, id: 6 });
  await other.publish(topic, "second", { qos: 2 });
  messages.push(await client.message());
  await client.subscribe(topic, { qos: 1, nl: true });
  await client.publish(topic, "own", { qos: 2 });
  await other.publish(topic, "third", { qos: 2 });
  messages.push(await client.message());
  assert.deepEqual(messages.map((m) => [...flags(m), ids(m)]), [["first", 2, false, [5]], ["second", 0, false, [6]], ["third", 1, false, []]]);
});

both("No Local: not to the client that published, on any of its connections", async (t) => {
  const [topic, clientId] = [name(), name()];
  const client = await connect(t, server, { clientId, expiry: 100 });
  await client.subscribe(topic, { qos: 1, nl: true });
  await client.publish(topic, "own", { qos: 1 });
  await client.end();
  const again = await connect(t, server, { clientId, clean: false, expiry: 100 });
  await again.publish(topic, "own, later", { qos: 1 });
  await (await connect(t, server)).publish(topic, "of others", { qos: 1 });
  assert.equal((await again.message()).payload.toString(), "of others");
});

ours("No Local drops only its own record", async (t) => {
  const root = name();
  const client = await connect(t, server);
  await client.subscribe(`${root}/#`, { qos: 2, nl: true, id: 1 });
  await client.subscribe(`${root}/a`, { qos: 1, id: 2 });
  await client.publish(`${root}/a`, "own", { qos: 2 });
  const message = await client.message();
  assert.deepEqual([message.qos, ids(message)], [1, [2]]);
  await quiet(client, client);
  assert.deepEqual(client.rest(), []);
});

both("Retain As Published keeps the flag of live messages, else it is 0", async (t) => {
  const topic = name();
  const [keeps, not, old, other] = [await connect(t, server), await connect(t, server), await connect(t, server, { version: 4 }), await connect(t, server)];
  await keeps.subscribe(topic, { qos: 1, rap: true });
  for (const client of [not, old]) await client.subscribe(topic, { qos: 1 });
  await other.publish(topic, "retained", { qos: 1, retain: true });
  await other.publish(topic, "plain", { qos: 1 });
  const seen = [];
  for (const client of [keeps, not, old]) seen.push((await client.messages(2)).map((m) => m.retain));
  assert.deepEqual(seen, [[true, false], [false, false], [false, false]]);
});

ours("RETAIN is kept if any matching record keeps it", async (t) => {
  const root = name();
  const client = await connect(t, server);
  await client.subscribe(`${root}/#`, { qos: 1 });
  await client.subscribe(`${root}/a`, { qos: 0, rap: true });
  await client.publish(`${root}/a`, "x", { qos: 1, retain: true });
  assert.deepEqual(flags(await client.message()), ["x", 1, true]);
});

both("resubscribing and unsubscribing leave what is in flight alone", async (t) => {
  const topic = name();
  const [client, other] = [await connect(t, server, { manual: true }), await connect(t, server)];
  await client.subscribe(topic, { qos: 2 });
  await other.publish(topic, "x", { qos: 2 });
  const { messageId } = await client.message();
  await client.subscribe(topic, { qos: 0 });
  await client.unsubscribe(topic);
  client.send({ cmd: "pubrec", messageId });
  assert.equal((await client.of("pubrel")).messageId, messageId);
  client.send({ cmd: "pubcomp", messageId });
  await client.settled();
});

both("SUBSCRIBE of 200 filters in one packet, UNSUBSCRIBE of the same", async (t) => {
  const root = name();
  const client = await connect(t, server);
  const filters = Array.from({ length: 200 }, (_, i) => `${root}/${i}/+`);
  assert.deepEqual((await client.subscribe(filters, { qos: 1 })).granted, Array(200).fill(1));
  for (const i of [0, 100, 199]) await client.publish(`${root}/${i}/x`, `${i}`);
  assert.deepEqual(payloads(await client.messages(3)).sort(), ["0", "100", "199"]);
  assert.deepEqual((await client.unsubscribe(...filters)).granted, Array(200).fill(0));
});

both("a filter twice in one SUBSCRIBE is one subscription, the last counts", async (t) => {
  const topic = name();
  const client = await connect(t, server);
  assert.deepEqual((await client.subscribe([{ topic, qos: 0 }, { topic, qos: 2 }])).granted, [0, 2]);
  await client.publish(topic, "x", { qos: 2 });
  assert.deepEqual((await exactly(client, 1)).map(flags), [["x", 2, false]]);
});

both("subscribing again while a publisher is busy loses nothing", async (t) => {
  const topic = name();
  const [client, other] = [await connect(t, server), await connect(t, server)];
  await client.subscribe(topic, { qos: 1 });
  const sending = (async () => {
    for (let i = 0; i < 300; i++) await other.publish(topic, `${i}`, { qos: 1 });
  })();
  for (let i = 0; i < 60; i++) await client.subscribe(topic, { qos: (i % 2) + 1 });
  await sending;
  assert.deepEqual(payloads(await client.messages(300)), Array.from({ length: 300 }, (_, i) => `${i}`));
});

ours("filters over the limit: 8F; 3.1.1: 80", async (t) => {
  for (const [version, code] of [[4, 0x80], [5, 0x8f]]) {
    const client = await connect(t, server, { version });
    assert.deepEqual((await client.subscribe(["x".repeat(2_049), name()], { qos: 1 })).granted, [code, 1]);
  }
});
