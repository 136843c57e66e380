// Sessions that outlive connections: what waits, what is sent again, exactly once across connections.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { connect, elapsed, hex, name, payloads, quiet, recent } from "../lib/mqtt.mjs";

const server = await shared("mqtt", { shards: 4 });
// A publish is acknowledged once its channel has taken it; other shards hear of it a moment later, and a session that is back by then has it at once.
const single = await shared("mqtt", { shards: 1 });
const flags = (m) => [m.payload.toString(), m.qos, m.dup];
const kept = (version) => (version === 5 ? { version, expiry: 600 } : { version });
const resume = (t, clientId, { version = 5, on = server, ...options } = {}) => connect(t, on, { clientId, clean: false, ...kept(version), ...options });
/** A subscriber of a session that lasts, with a publisher beside it. */
async function pair(t, { version = 5, qos = 2, on = server, ...options } = {}) {
  const [clientId, topic] = [name("s"), name("t")];
  const client = await resume(t, clientId, { version, on, ...options });
  await client.subscribe(topic, { qos });
  return { clientId, topic, client, other: await connect(t, on, { version }) };
}

for (const version of [3, 4, 5]) {
  both(`level ${version}: QoS 1 and 2 wait in order for a session that is away`, async (t) => {
    const { clientId, topic, client, other } = await pair(t, { version });
    await client.end();
    for (let i = 0; i < 30; i++) await other.publish(topic, `${i}`, { qos: (i % 2) + 1 });
    const again = await resume(t, clientId, { version });
    assert.equal(again.connack.sessionPresent, version === 3 ? again.connack.sessionPresent : true);
    assert.deepEqual((await again.messages(30)).map(flags), Array.from({ length: 30 }, (_, i) => [`${i}`, (i % 2) + 1, false]));
    await again.end();
    const third = await resume(t, clientId, { version });
    await quiet(third, other);
    assert.deepEqual(third.rest(), []);
  });
}

both("QoS 0 does not wait", async (t) => {
  const { clientId, topic, client, other } = await pair(t, { on: single });
  await client.end();
  await other.publish(topic, "zero", { qos: 0 });
  await other.publish(topic, "one", { qos: 1 });
  const again = await resume(t, clientId, { on: single });
  assert.deepEqual(payloads([await again.message()]), ["one"]);
});

both("subscribed at QoS 0: QoS 1 and 2 messages do not wait either", async (t) => {
  const { clientId, topic, client, other } = await pair(t, { qos: 0, on: single });
  await client.end();
  await other.publish(topic, "two", { qos: 2 });
  const again = await resume(t, clientId, { on: single });
  await other.publish(topic, "now", { qos: 2 });
  assert.deepEqual((await again.messages(1)).map(flags), [["now", 0, false]]);
});

both("a connection cut in the middle loses nothing", async (t) => {
  const { clientId, topic, client, other } = await pair(t, { manual: true });
  await other.publish(topic, "a", { qos: 1 });
  await client.message();
  client.cut();
  await other.publish(topic, "b", { qos: 1 });
  const again = await resume(t, clientId);
  assert.deepEqual((await again.messages(2)).map(flags), [["a", 1, true], ["b", 1, false]]);
});

for (const version of [4, 5]) {
  both(`level ${version}: sent again after a resume, with DUP, the same ids, in the same order`, async (t) => {
    const { clientId, topic, client, other } = await pair(t, { version, manual: true });
    for (let i = 0; i < 6; i++) await other.publish(topic, `${i}`, { qos: (i % 2) + 1 });
    const first = await client.messages(6);
    // 1 is acknowledged as far as PUBREC; the rest not at all.
    client.send({ cmd: "pubrec", messageId: first[1].messageId });
    await client.of("pubrel");
    client.cut();
    const again = await resume(t, clientId, { version, manual: true });
    const packets = [];
    while (packets.length < 6) packets.push(await again.next());
    const seen = packets.filter((p) => p.cmd === "publish");
    assert.deepEqual(seen.map((m) => [m.messageId, ...flags(m)]), first.filter((_, i) => i !== 1).map((m) => [m.messageId, m.payload.toString(), m.qos, true]));
    assert.deepEqual(packets.filter((p) => p.cmd === "pubrel").map((p) => p.messageId), [first[1].messageId]);
  });
}

ours("PUBLISH is sent again in the order in which it was sent first, PUBREL for the rest", async (t) => {
  const { clientId, topic, client, other } = await pair(t, { manual: true });
  for (let i = 0; i < 4; i++) await other.publish(topic, `${i}`, { qos: 2 });
  const first = await client.messages(4);
  for (const i of [2, 0]) {
    client.send({ cmd: "pubrec", messageId: first[i].messageId });
    await client.of("pubrel");
  }
  client.cut();
  const again = await resume(t, clientId, { manual: true });
  const packets = [];
  while (packets.length < 4) packets.push(await again.next());
  assert.deepEqual(packets.filter((p) => p.cmd === "pubrel").map((p) => p.messageId).sort(), [first[0].messageId, first[2].messageId]);
  assert.deepEqual(packets.filter((p) => p.cmd === "publish").map((p) => p.messageId), [first[1].messageId, first[3].messageId]);
});

both("nothing is sent again while the connection lasts", async (t) => {
  const { topic, client, other } = await pair(t, { manual: true });
  await other.publish(topic, "x", { qos: 1 });
  await other.publish(topic, "y", { qos: 2 });
  await client.messages(2);
  await elapsed(t, server, 1);
  await client.settled();
  assert.deepEqual(client.inbox, []);
});

both("QoS 2 out: exactly once, whenever the connection breaks", async (t) => {
  // [what the client did before the cut, what comes after the resume]
  for (const [steps, expected] of [[[], "publish"], [["pubrec"], "pubrel"], [["pubrec", "pubrel", "pubcomp"], undefined]]) {
    const { clientId, topic, client, other } = await pair(t, { manual: true });
    await other.publish(topic, "x", { qos: 2 });
    const { messageId } = await client.message();
    for (const step of steps) {
      if (step === "pubrel") await client.of("pubrel");
      else client.send({ cmd: step, messageId });
    }
    if (steps.length === 1) await client.of("pubrel");
    if (steps.length) await client.settled();
    client.cut();
    const again = await resume(t, clientId, { manual: true });
    if (expected) {
      const packet = await again.next();
      assert.deepEqual([packet.cmd, packet.messageId], [expected, messageId]);
      if (expected === "publish") {
        again.send({ cmd: "pubrec", messageId });
        await again.of("pubrel");
      }
      again.send({ cmd: "pubcomp", messageId });
    }
    await again.settled();
    assert.deepEqual(again.inbox, []);
    again.cut();
    const third = await resume(t, clientId);
    await quiet(third, other);
    assert.deepEqual(third.inbox, []);
  }
});

for (const version of [4, 5]) {
  both(`level ${version}: QoS 2 in: exactly once, whenever the connection breaks`, async (t) => {
    const [topic, clientId] = [name(), name()];
    const watch = await connect(t, server);
    await watch.subscribe(topic, { qos: 2 });
    const send = (dup) => ({ cmd: "publish", topic, payload: "once", qos: 2, messageId: 11, dup, retain: false });
    let client = await resume(t, clientId, { version });
    client.send(send(false));
    await client.of("pubrec");
    for (let i = 0; i < 2; i++) {
      client.cut();
      client = await resume(t, clientId, { version });
      client.send(send(true));
      await client.of("pubrec");
    }
    client.send({ cmd: "pubrel", messageId: 11 });
    await client.of("pubcomp");
    client.cut();
    client = await resume(t, clientId, { version });
    client.send({ cmd: "pubrel", messageId: 11 });
    await client.of("pubcomp");
    client.send({ ...send(false), payload: "next" }, { cmd: "pubrel", messageId: 11 });
    await client.of("pubcomp");
    assert.deepEqual(payloads(await watch.messages(2)), ["once", "next"]);
    await quiet(watch, client);
    assert.deepEqual(watch.rest(), []);
  });
}

both("QoS 2 in over a clean start is a new exchange", async (t) => {
  const [topic, clientId] = [name(), name()];
  const watch = await connect(t, server);
  await watch.subscribe(topic, { qos: 2 });
  const message = (payload) => ({ cmd: "publish", topic, payload, qos: 2, messageId: 3, dup: false, retain: false });
  const first = await resume(t, clientId);
  first.send(message("first"));
  await first.of("pubrec");
  first.cut();
  const second = await connect(t, server, { clientId, clean: true });
  second.send(message("second"), { cmd: "pubrel", messageId: 3 });
  await second.of("pubcomp");
  await quiet(watch, second);
  assert.ok(payloads(watch.rest()).includes("second"));
});

ours("a QoS 2 message whose PUBREC was sent is handed on, even if PUBREL never comes", async (t) => {
  const topic = name();
  const watch = await connect(t, server);
  await watch.subscribe(topic, { qos: 2 });
  const client = await connect(t, server);
  client.send({ cmd: "publish", topic, payload: "owned", qos: 2, messageId: 3, dup: false, retain: false });
  await client.of("pubrec");
  client.cut();
  assert.deepEqual(payloads([await watch.message()]), ["owned"]);
});

both("packet ids start at 1 and count up; one in flight is not given again", async (t) => {
  const { clientId, topic, client, other } = await pair(t, { manual: true });
  for (let i = 0; i < 3; i++) await other.publish(topic, `${i}`, { qos: 1 });
  const ids = (await client.messages(3)).map((m) => m.messageId);
  assert.deepEqual(ids, [1, 2, 3]);
  for (const messageId of [1, 3]) client.send({ cmd: "puback", messageId });
  await client.settled();
  client.cut();
  const again = await resume(t, clientId, { manual: true });
  assert.equal((await again.message()).messageId, 2);
  for (let i = 0; i < 5; i++) await other.publish(topic, `new ${i}`, { qos: 1 });
  const later = (await again.messages(5)).map((m) => m.messageId);
  assert.ok(!later.includes(2) && !later.includes(0) && new Set(later).size === 5, `${later}`);
});

ours("packet ids wrap after 65,535 and step over the one in flight", async (t) => {
  const { topic, client, other } = await pair(t, { manual: true, qos: 1 });
  await other.publish(topic, "held", { qos: 1 });
  assert.equal((await client.message()).messageId, 1);
  const N = 65_540;
  const sending = (async () => {
    for (let sent = 0; sent < N; ) {
      const batch = Math.min(20, N - sent);
      for (let i = 0; i < batch; i++, sent++) other.send({ cmd: "publish", topic, payload: "", qos: 1, messageId: i + 1, dup: false, retain: false });
      for (let i = 0; i < batch; i++) await other.of("puback");
    }
  })();
  let last = 1;
  for (let i = 0; i < N; i++) {
    const { messageId } = await client.message();
    assert.ok(messageId === last + 1 || (last === 65_535 && messageId === 2), `${messageId} after ${last}`);
    last = messageId;
    client.send({ cmd: "puback", messageId });
  }
  await sending;
});

both("subscriptions last with the session, and end with it", async (t) => {
  const { clientId, topic, client, other } = await pair(t, { qos: 1 });
  await client.end();
  const second = await resume(t, clientId);
  await other.publish(topic, "x", { qos: 1 });
  assert.deepEqual(payloads([await second.message()]), ["x"]);
  await second.end({ sessionExpiryInterval: 0 });
  const third = await resume(t, clientId);
  assert.equal(third.connack.sessionPresent, false);
  await other.publish(topic, "y", { qos: 1 });
  await quiet(third, other);
  assert.deepEqual(third.rest(), []);
});

both("unsubscribing while away does not exist: UNSUBSCRIBE before the end counts", async (t) => {
  const { clientId, topic, client, other } = await pair(t, { qos: 1 });
  await client.unsubscribe(topic);
  await client.end();
  await other.publish(topic, "x", { qos: 1 });
  const again = await resume(t, clientId);
  await quiet(again, other);
  assert.deepEqual(again.rest(), []);
});

both("messages expire while they wait; those that do not carry what is left", async (t) => {
  const { clientId, topic, client, other } = await pair(t, { qos: 1 });
  await client.end();
  for (const [payload, seconds] of [["short", 1], ["long", 100], ["never", undefined]]) {
    await other.publish(topic, payload, { qos: 1, ...(seconds && { properties: { messageExpiryInterval: seconds } }) });
  }
  await elapsed(t, server, 2);
  const again = await resume(t, clientId);
  const [long, never] = await again.messages(2);
  assert.deepEqual(payloads([long, never]), ["long", "never"]);
  const left = long.properties.messageExpiryInterval;
  assert.ok(left >= 90 && left <= 99, `${left}`);
  assert.equal(never.properties?.messageExpiryInterval, undefined);
});

ours("a message that was delivered before it expired is sent again after a resume", async (t) => {
  const { clientId, topic, client, other } = await pair(t, { manual: true });
  await other.publish(topic, "x", { qos: 2, properties: { messageExpiryInterval: 1 } });
  const { messageId } = await client.message();
  client.send({ cmd: "pubrec", messageId });
  await client.of("pubrel");
  client.cut();
  await elapsed(t, server, 2);
  const again = await resume(t, clientId, { manual: true });
  const packet = await again.next();
  assert.deepEqual([packet.cmd, packet.messageId], ["pubrel", messageId]);
});

for (const version of [4, 5]) {
  both(`level ${version}: takeover in the middle of a flow, both ways: nothing lost, QoS 2 nothing twice`, async (t) => {
    const { clientId, topic, client, other } = await pair(t, { version });
    const N = 200;
    const seen = [];
    let current = client;
    const sending = (async () => {
      for (let i = 0; i < N; i++) await other.publish(topic, `${i}`, { qos: 2 });
    })();
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 12; i++) seen.push(await current.message());
      const before = current;
      current = await resume(t, clientId, { version });
      await before.gone();
      // What the old connection acknowledged counts, whether or not the test had looked at it.
      seen.push(...before.rest());
    }
    await sending;
    // A message sent again says so; this client keeps no ids over connections.
    const fresh = () => seen.filter((m) => !m.dup).map((m) => Number(m.payload));
    while (new Set(payloads(seen)).size < N) seen.push(await current.message());
    assert.equal(new Set(fresh()).size, fresh().length, "twice without DUP");
    assert.deepEqual([...new Set(seen.map((m) => Number(m.payload)))].sort((a, b) => a - b), Array.from({ length: N }, (_, i) => i));
  });
}

both("a v5 session goes on as a v3 one and back, with its messages", async (t) => {
  const { clientId, topic, client, other } = await pair(t, { version: 5, qos: 1 });
  await client.end();
  for (const version of [4, 5, 3]) {
    await other.publish(topic, `for ${version}`, { qos: 1, properties: { userProperties: { a: "b" } } });
    const next = await resume(t, clientId, { version });
    assert.deepEqual(payloads([await next.message()]), [`for ${version}`]);
    await next.settled();
    await next.end();
  }
});

both("many sessions away get what they missed", async (t) => {
  const topic = name();
  const ids = Array.from({ length: 60 }, () => name("m"));
  for (const clientId of ids) {
    const client = await resume(t, clientId);
    await client.subscribe(`${topic}/#`, { qos: 1 });
    await client.end();
  }
  const other = await connect(t, server);
  for (let i = 0; i < 20; i++) await other.publish(`${topic}/${i % 4}`, `${i}`, { qos: 1 });
  for (const clientId of ids) {
    const client = await resume(t, clientId);
    const messages = await client.messages(20);
    for (let leaf = 0; leaf < 4; leaf++) {
      assert.deepEqual(payloads(messages.filter((m) => m.topic === `${topic}/${leaf}`)), [0, 1, 2, 3, 4].map((i) => `${i * 4 + leaf}`));
    }
  }
});

recent("a publish that was acknowledged between two connections of a subscriber arrives, on whichever", async (t) => {
  const { clientId, topic, client, other } = await pair(t, { qos: 1 });
  let current = client;
  const got = new Set();
  for (let i = 0; i < 40; i++) {
    const sent = other.publish(topic, `${i}`, { qos: 1 });
    if (i % 2) await current.end();
    else current.cut();
    await sent;
    payloads(current.rest()).forEach((p) => got.add(p));
    current = await resume(t, clientId);
  }
  while (got.size < 40) got.add((await current.message()).payload.toString());
});

ours("the resumed CONNACK is two bytes of flags and code as ever", async (t) => {
  const { clientId, client } = await pair(t, { version: 4 });
  await client.end();
  assert.equal(hex((await resume(t, clientId, { version: 4 })).connack.raw), "20 02 01 00");
});
