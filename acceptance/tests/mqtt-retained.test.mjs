// Retained messages: set, replace, clear, and who gets them when.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { connect, elapsed, exactly, name, payloads, quiet, recent } from "../lib/mqtt.mjs";

const server = await shared("mqtt", { shards: 4 });
const retain = true;
const flags = (m) => [m.payload.toString(), m.qos, m.retain];
/** What a new subscription of a new client brings; `count` messages are expected. */
async function kept(t, count, filter, options = { qos: 2 }, version = 5) {
  const client = await connect(t, server, { version });
  await client.subscribe(filter, options);
  return exactly(client, count);
}

for (const version of [3, 4, 5]) {
  both(`level ${version}: set, replaced, cleared; every QoS`, async (t) => {
    const topic = name();
    const client = await connect(t, server, { version });
    for (const qos of [0, 1, 2]) {
      await client.publish(topic, `q${qos}`, { qos, retain });
      // Its acknowledgement comes behind what QoS 0 did.
      await client.publish(topic, "not retained", { qos: 1 });
      for (const reader of [3, 4, 5]) assert.deepEqual((await kept(t, 1, topic, { qos: 2 }, reader)).map(flags), [[`q${qos}`, qos, true]]);
    }
    assert.deepEqual((await kept(t, 1, topic, { qos: 1 })).map(flags), [["q2", 1, true]]);
    await client.publish(topic, "", { qos: 2, retain });
    assert.deepEqual(await kept(t, 0, topic), []);
  });
}

both("live subscribers get set and clear as ordinary messages", async (t) => {
  const topic = name();
  const [watch, client] = [await connect(t, server), await connect(t, server)];
  await watch.subscribe(topic, { qos: 2 });
  for (const payload of ["a", "b", ""]) await client.publish(topic, payload, { qos: 2, retain });
  assert.deepEqual((await watch.messages(3)).map(flags), [["a", 2, false], ["b", 2, false], ["", 2, false]]);
});

both("QoS of a retained message is the lower of both", async (t) => {
  const topic = name();
  await (await connect(t, server)).publish(topic, "x", { qos: 1, retain });
  for (const qos of [0, 1, 2]) assert.deepEqual((await kept(t, 1, topic, { qos })).map(flags), [["x", Math.min(qos, 1), true]]);
});

for (const [rh, first, again] of [[0, 1, 1], [1, 1, 0], [2, 0, 0]]) {
  both(`Retain Handling ${rh}: ${first} for a new subscription, ${again} for one that is there`, async (t) => {
    const topic = name();
    await (await connect(t, server)).publish(topic, "x", { qos: 1, retain });
    const client = await connect(t, server);
    const seen = [];
    for (const count of [first, again]) {
      await client.subscribe(topic, { qos: 1, rh });
      seen.push((await exactly(client, count)).length);
    }
    assert.deepEqual(seen, [first, again]);
    await client.unsubscribe(topic);
    await client.subscribe(topic, { qos: 1, rh });
    assert.equal((await exactly(client, first)).length, first);
  });
}

both("Retain Handling 1 after a resume: the subscription is there", async (t) => {
  const [topic, clientId] = [name(), name()];
  await (await connect(t, server)).publish(topic, "x", { qos: 1, retain });
  const first = await connect(t, server, { clientId, expiry: 100 });
  await first.subscribe(topic, { qos: 1, rh: 1 });
  assert.equal((await first.message()).retain, true);
  await first.settled();
  await first.end();
  const second = await connect(t, server, { clientId, clean: false, expiry: 100 });
  await second.subscribe(topic, { qos: 1, rh: 1 });
  await quiet(second, second);
  assert.deepEqual(second.rest(), []);
});

both("3.1.1: every SUBSCRIBE brings it again", async (t) => {
  const topic = name();
  const client = await connect(t, server, { version: 4 });
  await client.publish(topic, "x", { qos: 1, retain });
  for (let i = 0; i < 3; i++) {
    await client.subscribe(topic, { qos: 1 });
    assert.deepEqual(flags(await client.message()), ["x", 1, true]);
  }
});

both("RETAIN is 1 on what was retained, whatever Retain As Published says", async (t) => {
  const topic = name();
  await (await connect(t, server)).publish(topic, "x", { qos: 1, retain });
  for (const rap of [false, true]) assert.deepEqual((await kept(t, 1, topic, { qos: 1, rap })).map(flags), [["x", 1, true]]);
});

both("properties are kept with it, the identifier is the subscriber's", async (t) => {
  const topic = name();
  const properties = { payloadFormatIndicator: true, contentType: "text/x", responseTopic: "r/t", correlationData: Buffer.from([0, 1]), userProperties: { a: ["1", "2"] } };
  await (await connect(t, server)).publish(topic, "x", { qos: 1, retain, properties });
  const [message] = await kept(t, 1, topic, { qos: 1, id: 9 });
  assert.deepEqual({ ...message.properties, userProperties: { ...message.properties.userProperties } }, { ...properties, subscriptionIdentifier: 9 });
});

both("expiry: what is left of it travels with it, then it is gone", async (t) => {
  const [short, long] = [name(), name()];
  const client = await connect(t, server);
  await client.publish(short, "x", { qos: 1, retain, properties: { messageExpiryInterval: 1 } });
  await client.publish(long, "x", { qos: 1, retain, properties: { messageExpiryInterval: 100 } });
  await elapsed(t, server, 2);
  assert.deepEqual(await kept(t, 0, short), []);
  const [{ properties: { messageExpiryInterval: left } }] = await kept(t, 1, long);
  assert.ok(left >= 90 && left <= 99, `${left}`);
});

both("wildcards bring all that match, $ names not for #", async (t) => {
  const root = name();
  const client = await connect(t, server);
  const topics = Array.from({ length: 100 }, (_, i) => `${root}/${i % 10}/${i}`);
  for (const topic of topics) await client.publish(topic, topic, { qos: 1, retain });
  await client.publish(`$own/${root}`, "dollar", { qos: 1, retain });
  assert.deepEqual(payloads(await kept(t, 100, `${root}/#`)).sort(), [...topics].sort());
  assert.equal((await kept(t, 10, `${root}/3/+`)).length, 10);
  assert.equal((await kept(t, 1, `+/+/${7}`)).filter((m) => m.topic.startsWith(root)).length, 1);
  assert.ok((await kept(t, 100, "#")).every((m) => !m.topic.startsWith("$")));
  assert.deepEqual(payloads(await kept(t, 1, `$own/${root}`)), ["dollar"]);
  for (const topic of [...topics, `$own/${root}`]) await client.publish(topic, "", { qos: 1, retain });
  assert.deepEqual(await kept(t, 0, `${root}/#`), []);
});

both("it outlives the publisher's session", async (t) => {
  const topic = name();
  const client = await connect(t, server);
  await client.publish(topic, "x", { qos: 1, retain });
  await client.end();
  assert.deepEqual(payloads(await kept(t, 1, topic)), ["x"]);
});

both("a subscription with several filters brings each filter's retained messages", async (t) => {
  const root = name();
  const client = await connect(t, server);
  for (const leaf of ["a", "b"]) await client.publish(`${root}/${leaf}`, leaf, { qos: 1, retain });
  await client.subscribe([{ topic: `${root}/a`, qos: 0 }, { topic: `${root}/+`, qos: 1 }]);
  assert.deepEqual(payloads(await client.messages(3)).sort(), ["a", "a", "b"]);
});

recent("no retained messages for shared subscriptions", async (t) => {
  const topic = name();
  await (await connect(t, server)).publish(topic, "x", { qos: 1, retain });
  assert.deepEqual(await kept(t, 0, `$share/g/${topic}`), []);
});

both("a subscriber that comes while a value is set over and over sees the newest last, live ones not before older retained", async (t) => {
  const topic = name();
  const client = await connect(t, server);
  await client.publish(topic, "0", { qos: 1, retain });
  const sending = (async () => {
    for (let i = 1; i <= 400; i++) await client.publish(topic, `${i}`, { qos: 1, retain });
  })();
  const watches = [];
  for (let i = 0; i < 20; i++) {
    watches.push(await connect(t, server));
    await watches[i].subscribe(topic, { qos: 1 });
  }
  await sending;
  for (const watch of watches) {
    const seen = [];
    while (seen.at(-1) !== 400) seen.push(Number((await watch.message()).payload));
    assert.deepEqual(seen, [...seen].sort((a, b) => a - b), "never back to an older value");
    const different = [...new Set(seen)];
    assert.deepEqual(different, Array.from({ length: 401 - seen[0] }, (_, i) => seen[0] + i), "none is missing after the first");
    // The one that was set while the subscription was made may come as retained and as a live one.
    assert.ok(seen.length <= different.length + 1, "twice");
  }
});

// The reference queues a thousand.
ours("thousands of retained messages under a small window arrive whole", async (t) => {
  const root = name();
  const client = await connect(t, server);
  const N = 3_000;
  for (let i = 0; i < N; i++) await client.publish(`${root}/${i}`, `${i}`, { qos: 1, retain });
  const watch = await connect(t, server, { properties: { receiveMaximum: 5 } });
  await watch.subscribe(`${root}/#`, { qos: 1 });
  assert.equal(new Set((await watch.messages(N)).map((m) => m.topic)).size, N);
  for (let i = 0; i < N; i++) client.send({ cmd: "publish", topic: `${root}/${i}`, payload: "", qos: 0, retain });
  await client.settled();
});

ours("overlapping subscriptions: retained messages follow each SUBSCRIBE, with its identifier", async (t) => {
  const root = name();
  const client = await connect(t, server);
  await client.publish(`${root}/a`, "x", { qos: 2, retain });
  for (const [filter, id] of [[`${root}/a`, 1], [`${root}/#`, 2]]) {
    await client.subscribe(filter, { qos: 1, id });
    const message = await client.message();
    assert.deepEqual([message.retain, [message.properties.subscriptionIdentifier].flat()], [true, [id]]);
  }
});
