// Shared subscriptions: one member per message, and what happens to it when the member goes.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { connect, exactly, gather, name, payloads, quiet, recent } from "../lib/mqtt.mjs";

const server = await shared("mqtt", { shards: 4 });
const N = 60;
async function members(t, n, filter, options = {}) {
  const { qos = 1, ...rest } = options;
  const list = [];
  for (let i = 0; i < n; i++) {
    list.push(await connect(t, server, rest));
    assert.deepEqual((await list[i].subscribe(filter, { qos })).granted, [qos]);
  }
  return list;
}
async function publishAll(client, topic, qos = 1, n = N) {
  for (let i = 0; i < n; i++) await client.publish(topic, `${i}`, { qos });
}
const numbers = (n = N) => Array.from({ length: n }, (_, i) => `${i}`);
const sorted = (list) => [...list].sort((a, b) => a - b);

for (const version of [4, 5]) {
  for (const qos of [0, 1, 2]) {
    both(`level ${version}, QoS ${qos}: each message to one member`, async (t) => {
      const topic = name();
      const list = await members(t, 4, `$share/g/${topic}`, { version, qos });
      const other = await connect(t, server);
      await publishAll(other, topic, qos);
      const shares = await gather(list, N, other);
      assert.deepEqual(sorted(shares.flatMap(payloads)), numbers());
      assert.ok(shares.flat().every((m) => m.qos === qos && !m.retain && m.topic === topic));
    });
  }
}

both("many publishers: every member has work", async (t) => {
  const topic = name();
  const list = await members(t, 3, `$share/g/${topic}/#`);
  const publishers = await Promise.all(Array.from({ length: 12 }, () => connect(t, server)));
  await Promise.all(publishers.map((p, i) => publishAll(p, `${topic}/${i}`, 1, 10)));
  const counts = (await gather(list, 120, publishers[0])).map((share) => share.length);
  assert.equal(counts.reduce((a, b) => a + b), 120);
  assert.ok(counts.every((c) => c > 0), `${counts}`);
});

both("groups and ordinary subscriptions each get their copy", async (t) => {
  const topic = name();
  const [a] = await members(t, 1, `$share/a/${topic}`);
  const [b] = await members(t, 1, `$share/b/${topic}`);
  const [plain] = await members(t, 1, topic);
  await publishAll(plain, topic, 1, 5);
  for (const client of [a, b, plain]) assert.deepEqual(payloads(await exactly(client, 5, plain)), numbers(5));
});

recent("a client's ordinary subscription and its share are two, with a copy each", async (t) => {
  const topic = name();
  const client = await connect(t, server);
  await client.subscribe(topic, { qos: 1, id: 1 });
  await client.subscribe(`$share/g/${topic}`, { qos: 1, id: 2 });
  await client.publish(topic, "x", { qos: 1 });
  const ids = (await client.messages(2)).map((m) => [m.properties.subscriptionIdentifier].flat());
  assert.deepEqual(ids.sort(), [[1], [2]]);
  assert.deepEqual((await client.unsubscribe(topic, topic)).granted, [0, 0x11]);
  await client.publish(topic, "y", { qos: 1 });
  assert.deepEqual(payloads([await client.message()]), ["y"]);
  assert.deepEqual((await client.unsubscribe(`$share/g/${topic}`)).granted, [0]);
  await client.publish(topic, "z", { qos: 1 });
  await quiet(client, client);
  assert.deepEqual(client.rest(), []);
});

both("members of different QoS get their own", async (t) => {
  const topic = name();
  const list = [];
  for (const qos of [0, 2]) list.push(...(await members(t, 1, `$share/g/${topic}`, { qos })));
  const publishers = await Promise.all(Array.from({ length: 10 }, () => connect(t, server)));
  for (const publisher of publishers) await publisher.publish(topic, "x", { qos: 2 });
  const qos = (await gather(list, 10, publishers[0])).map((share) => share.map((p) => p.qos));
  assert.equal(qos.flat().length, 10);
  assert.ok(qos[0].every((q) => q === 0) && qos[1].every((q) => q === 2), JSON.stringify(qos));
});

both("a member that leaves gets no more; the last one's leaving ends it", async (t) => {
  const topic = name();
  const filter = `$share/g/${topic}`;
  const [a, b] = await members(t, 2, filter);
  const other = await connect(t, server);
  await a.unsubscribe(filter);
  await publishAll(other, topic, 1, 10);
  assert.deepEqual([payloads(await exactly(b, 10, other)), a.rest()], [numbers(10), []]);
  await b.unsubscribe(filter);
  await other.publish(topic, "nobody", { qos: 1 });
  const [late] = await members(t, 1, filter);
  await quiet(late, other);
  assert.deepEqual(late.rest(), []);
});

ours("a connected member is preferred to one that is away", async (t) => {
  const topic = name();
  const filter = `$share/g/${topic}`;
  const away = await connect(t, server, { expiry: 600 });
  await away.subscribe(filter, { qos: 1 });
  await away.end();
  const [here] = await members(t, 1, filter);
  const other = await connect(t, server);
  await publishAll(other, topic, 1, 20);
  assert.deepEqual(payloads(await exactly(here, 20, other)), numbers(20));
});

ours("QoS 1 unacknowledged goes to another member when the session ends", async (t) => {
  const topic = name();
  const filter = `$share/g/${topic}`;
  const [silent] = await members(t, 1, filter, { manual: true });
  const other = await connect(t, server);
  await publishAll(other, topic, 1, 5);
  await silent.messages(5);
  const [heir] = await members(t, 1, filter);
  silent.cut();
  assert.deepEqual(sorted(payloads(await heir.messages(5))), numbers(5));
});

ours("QoS 2 that was started is never another member's", async (t) => {
  const topic = name();
  const filter = `$share/g/${topic}`;
  const clientId = name();
  const first = await connect(t, server, { clientId, expiry: 600, manual: true });
  await first.subscribe(filter, { qos: 2 });
  const other = await connect(t, server);
  await other.publish(topic, "started", { qos: 2 });
  const { messageId } = await first.message();
  const [second] = await members(t, 1, filter, { qos: 2 });
  first.cut();
  await quiet(second, other);
  assert.deepEqual(second.rest(), []);
  const again = await connect(t, server, { clientId, clean: false, expiry: 600 });
  const message = await again.message();
  assert.deepEqual([message.payload.toString(), message.messageId, message.dup], ["started", messageId, true]);
});

both("a negative acknowledgement discards: no other member gets it", async (t) => {
  const topic = name();
  const filter = `$share/g/${topic}`;
  const [refuses] = await members(t, 1, filter, { manual: true, qos: 2 });
  const other = await connect(t, server);
  await other.publish(topic, "one", { qos: 1 });
  await other.publish(topic, "two", { qos: 2 });
  const [one, two] = await refuses.messages(2);
  const [second] = await members(t, 1, filter, { qos: 2 });
  refuses.send({ cmd: "puback", messageId: one.messageId, reasonCode: 0x80 }, { cmd: "pubrec", messageId: two.messageId, reasonCode: 0x97 });
  await refuses.settled();
  refuses.cut();
  await quiet(second, other);
  assert.deepEqual(second.rest(), []);
});

both("a slow member: what it does not acknowledge is delivered, sooner or later, once", async (t) => {
  const topic = name();
  const filter = `$share/g/${topic}`;
  const slow = await connect(t, server, { manual: true, properties: { receiveMaximum: 2 } });
  await slow.subscribe(filter, { qos: 1 });
  const [fast] = await members(t, 1, filter);
  const publishers = await Promise.all(Array.from({ length: 5 }, () => connect(t, server)));
  for (const [i, publisher] of publishers.entries()) for (let k = 0; k < 6; k++) await publisher.publish(topic, `${i * 6 + k}`, { qos: 1 });
  const seen = [];
  slow.manual = false;
  for (const m of slow.inbox) if (m.cmd === "publish") slow.send({ cmd: "puback", messageId: m.messageId });
  while (seen.length < 30) {
    seen.push(...payloads([...slow.rest(), ...fast.rest()]));
    if (seen.length < 30) await slow.settled();
  }
  assert.deepEqual(sorted(seen), numbers(30));
});

recent("no Local is not for shares", async (t) => {
  const client = await connect(t, server);
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: `$share/g/${name()}`, qos: 1, nl: true }] });
  assert.equal(await client.ending(), 0x82);
});

both("wildcards within a share", async (t) => {
  const root = name();
  const list = await members(t, 2, `$share/g/${root}/+/x/#`);
  const other = await connect(t, server);
  for (const topic of [`${root}/a/x`, `${root}/b/x/y`, `${root}/a/y`, root]) await other.publish(topic, topic, { qos: 1 });
  assert.deepEqual((await gather(list, 2, other)).flatMap(payloads).sort(), [`${root}/a/x`, `${root}/b/x/y`]);
});

both("members come and go while messages flow: each message once", async (t) => {
  const topic = name();
  const filter = `$share/g/${topic}`;
  const list = await members(t, 2, filter);
  const other = await connect(t, server);
  const sending = publishAll(other, topic, 1, 200);
  for (let i = 0; i < 10; i++) {
    list.push(...(await members(t, 1, filter)));
    await list[i].unsubscribe(filter);
  }
  await sending;
  assert.deepEqual(sorted((await gather(list, 200, other)).flatMap(payloads)), numbers(200));
});
