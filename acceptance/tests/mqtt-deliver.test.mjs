// Messages to a client: its Receive Maximum, Maximum Packet Size and aliases; properties, order, expiry.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { bytes, connect, connectPacket, dial, early, exactly, hex, name, payloads, quiet, recent } from "../lib/mqtt.mjs";

const server = await shared("mqtt", { shards: 4 });
async function pair(t, filter, { qos = 2, ...options } = {}) {
  const client = await connect(t, server, options);
  await client.subscribe(filter, { qos });
  return [client, await connect(t, server)];
}
const acknowledge = (client, m) => client.send({ cmd: m.qos === 1 ? "puback" : "pubrec", messageId: m.messageId });

for (const receiveMaximum of [1, 3]) {
  recent(`Receive Maximum ${receiveMaximum}: never more unacknowledged, in order, everything arrives`, async (t) => {
    const topic = name();
    const [client, other] = await pair(t, topic, { manual: true, properties: { receiveMaximum } });
    const N = 30;
    for (let i = 0; i < N; i++) await other.publish(topic, `${i}`, { qos: (i % 2) + 1 });
    const seen = [];
    const open = [];
    while (seen.length < N) {
      const message = await client.message();
      seen.push(message.payload.toString());
      open.push(message);
      assert.ok(open.length <= receiveMaximum, `${open.length} open`);
      if (open.length < Math.min(receiveMaximum, N - seen.length + 1)) continue;
      await client.settled();
      assert.deepEqual(client.inbox, [], "no more before an acknowledgement");
      const done = open.shift();
      acknowledge(client, done);
      if (done.qos === 1) continue;
      await client.of("pubrel");
      client.send({ cmd: "pubcomp", messageId: done.messageId });
    }
    assert.deepEqual(seen, Array.from({ length: N }, (_, i) => `${i}`));
  });
}

both("PUBREC alone does not give the place back, PUBCOMP does", async (t) => {
  const topic = name();
  const [client, other] = await pair(t, topic, { manual: true, properties: { receiveMaximum: 1 } });
  for (const payload of ["a", "b"]) await other.publish(topic, payload, { qos: 2 });
  const { messageId } = await client.message();
  client.send({ cmd: "pubrec", messageId });
  await client.of("pubrel");
  await client.settled();
  assert.deepEqual(client.inbox, []);
  client.send({ cmd: "pubcomp", messageId });
  assert.equal((await client.message()).payload.toString(), "b");
});

early("PUBREC with an error ends the exchange and gives the place back", async (t) => {
  const topic = name();
  const [client, other] = await pair(t, topic, { manual: true, properties: { receiveMaximum: 1 } });
  for (const payload of ["a", "b"]) await other.publish(topic, payload, { qos: 2 });
  const { messageId } = await client.message();
  client.send({ cmd: "pubrec", messageId, reasonCode: 0x97 });
  assert.equal((await client.message()).payload.toString(), "b");
  await client.settled();
  assert.deepEqual(client.inbox, []);
});

both("other packets are not held up while the window is full, nor is QoS 0", async (t) => {
  const [topic, zero] = [name(), name("zero")];
  const [client, other] = await pair(t, topic, { manual: true, properties: { receiveMaximum: 1 } });
  await client.subscribe(zero);
  for (const payload of ["a", "b"]) await other.publish(topic, payload, { qos: 1 });
  await client.message();
  await other.publish(zero, "passes");
  assert.equal((await client.message()).payload.toString(), "passes");
  await client.settled();
  await client.subscribe(name());
  assert.equal((await client.publish(name(), "x", { qos: 1 })).cmd, "puback");
  await client.publish(name(), "x", { qos: 2 });
});

both("the window is new with each connection", async (t) => {
  const [topic, clientId] = [name(), name()];
  const [first, other] = await pair(t, topic, { clientId, expiry: 600, manual: true, properties: { receiveMaximum: 1 } });
  for (let i = 0; i < 6; i++) await other.publish(topic, `${i}`, { qos: 1 });
  await first.message();
  first.cut();
  const second = await connect(t, server, { clientId, clean: false, expiry: 600, manual: true, properties: { receiveMaximum: 4 } });
  const messages = await second.messages(4);
  assert.deepEqual(messages.map((m) => [m.payload.toString(), m.dup]), [["0", true], ["1", false], ["2", false], ["3", false]]);
  await second.settled();
  assert.deepEqual(second.rest(), []);
  acknowledge(second, messages[2]);
  assert.equal((await second.message()).payload.toString(), "4");
});

both("a message over the client's Maximum Packet Size is not sent, the next one is", async (t) => {
  const topic = name();
  const [client, other] = await pair(t, topic, { properties: { maximumPacketSize: 100 } });
  for (const qos of [0, 1, 2]) await other.publish(topic, "x".repeat(200), { qos });
  await other.publish(topic, "small", { qos: 2 });
  assert.deepEqual(payloads([await client.message()]), ["small"]);
  await quiet(client, other);
  assert.deepEqual(client.rest(), []);
});

ours("Maximum Packet Size is exact to the byte", async (t) => {
  const topic = name();
  const size = 2 + 2 + topic.length + 1 + 40;
  const [client, other] = await pair(t, topic, { qos: 0, properties: { maximumPacketSize: size } });
  await other.publish(topic, "x".repeat(41));
  await other.publish(topic, "y".repeat(40));
  assert.deepEqual(payloads([await client.message()]), ["y".repeat(40)]);
});

ours("a message that is too large for one session reaches the others of its share", async (t) => {
  const topic = name();
  const filter = `$share/g/${topic}`;
  const [small, other] = await pair(t, filter, { qos: 1, properties: { maximumPacketSize: 60 } });
  await other.publish(topic, "x".repeat(100), { qos: 1 });
  await other.publish(topic, "fits", { qos: 1 });
  assert.deepEqual(payloads(await exactly(small, 1, other)), ["fits"]);
});

ours("no room for CONNACK: closed without a word", async (t) => {
  const client = await dial(t, server);
  client.send(connectPacket(5, { properties: { maximumPacketSize: 4 } }));
  await client.gone();
  assert.equal(hex(client.received), "");
});

ours("nothing over Maximum Packet Size is sent, acknowledgements neither", async (t) => {
  const client = await connect(t, server, { properties: { maximumPacketSize: 30 } });
  const subscriptions = Array.from({ length: 50 }, () => ({ topic: name(), qos: 0 }));
  client.send({ cmd: "subscribe", messageId: 1, subscriptions }, { cmd: "pingreq" });
  await Promise.race([client.of("pingresp"), client.gone()]);
  assert.deepEqual(client.inbox.filter((p) => p.raw.length > 30), []);
});

ours("Request Problem Information 0: refusals have a code and no text", async (t) => {
  const client = await connect(t, server, { properties: { requestProblemInformation: false } });
  client.send({ cmd: "publish", topic: "$SYS/x", payload: "", qos: 1, messageId: 5, dup: false, retain: false });
  assert.equal(hex((await client.of("puback")).raw), "40 03 00 05 87");
  client.send({ cmd: "publish", topic: "$SYS/x", payload: "", qos: 2, messageId: 6, dup: false, retain: false });
  assert.equal(hex((await client.of("pubrec")).raw), "50 03 00 06 87");
  assert.equal(hex((await client.subscribe("$user/x")).raw), "90 04 00 01 00 87");
});

recent("aliases to the client: the first PUBLISH of a topic sets one, later ones use it, no more than it allows", async (t) => {
  const root = name();
  const [client, other] = await pair(t, `${root}/#`, { qos: 1, properties: { topicAliasMaximum: 2 } });
  for (let round = 0; round < 3; round++) for (const leaf of ["a", "b", "c"]) await other.publish(`${root}/${leaf}`, leaf, { qos: 1 });
  const table = new Map();
  for (const message of await client.messages(9)) {
    const alias = message.properties?.topicAlias;
    assert.ok(alias === undefined || (alias >= 1 && alias <= 2));
    if (alias && message.topic) table.set(alias, message.topic);
    const topic = message.topic || table.get(alias);
    assert.equal(topic, `${root}/${message.payload}`);
  }
  assert.equal(table.size, 2);
});

ours("aliases to the client start with the first PUBLISH and are never moved", async (t) => {
  const root = name();
  const [client, other] = await pair(t, `${root}/#`, { qos: 0, properties: { topicAliasMaximum: 1 } });
  const seen = [];
  for (const leaf of ["a", "b", "a", "b"]) {
    await other.publish(`${root}/${leaf}`, leaf);
    const message = await client.message();
    seen.push([message.topic, message.properties?.topicAlias]);
  }
  assert.deepEqual(seen, [[`${root}/a`, 1], [`${root}/b`, undefined], ["", 1], [`${root}/b`, undefined]]);
});

both("no alias to a client that did not allow it, nor after a resume that does not", async (t) => {
  const [topic, clientId] = [name(), name()];
  const [first, other] = await pair(t, topic, { clientId, expiry: 600, properties: { topicAliasMaximum: 5 } });
  for (let i = 0; i < 3; i++) await other.publish(topic, "x", { qos: 1 });
  await first.messages(3);
  await first.settled();
  await first.end();
  await other.publish(topic, "y", { qos: 1 });
  const second = await connect(t, server, { clientId, clean: false, expiry: 600 });
  const message = await second.message();
  assert.deepEqual([message.topic, message.properties?.topicAlias], [topic, undefined]);
});

const PROPERTIES = { payloadFormatIndicator: true, contentType: "application/json", responseTopic: "reply/to", correlationData: Buffer.from([0, 255, 1]) };
for (const qos of [0, 1, 2]) {
  both(`QoS ${qos}: properties of 5.0 pass unaltered, and are left out for 3.1.1`, async (t) => {
    const topic = name();
    const [five, other] = await pair(t, topic, { qos });
    const [four] = await pair(t, topic, { qos, version: 4 });
    await other.publish(topic, "{}", { qos, properties: { ...PROPERTIES, messageExpiryInterval: 500 } });
    const { messageExpiryInterval, ...rest } = (await five.message()).properties;
    assert.deepEqual(rest, PROPERTIES);
    assert.ok(messageExpiryInterval >= 490 && messageExpiryInterval <= 500);
    const plain = await four.message();
    assert.equal(hex(plain.raw.subarray(-2)), "7b 7d");
    assert.equal(plain.raw.length, 2 + 2 + topic.length + (qos ? 2 : 0) + 2);
  });
}

both("user properties keep their order, equal names and empty ones", async (t) => {
  const topic = "user/properties";
  const [client, other] = await pair(t, topic, { qos: 0 });
  const list = [["b", "1"], ["a", "2"], ["b", "3"], ["", ""], ["a", "2"], ["ünï", "\u{1f600}"]];
  const text = (s) => Buffer.concat([Buffer.of(0, Buffer.byteLength(s)), Buffer.from(s)]);
  const properties = Buffer.concat(list.map(([k, v]) => Buffer.concat([Buffer.of(0x26), text(k), text(v)])));
  const body = Buffer.concat([text(topic), Buffer.of(properties.length), properties, Buffer.from("x")]);
  other.send(Buffer.concat([Buffer.of(0x30, body.length), body]));
  const { raw } = await client.message();
  assert.ok(raw.includes(properties), hex(raw));
});

both("empty values of properties pass as they are", async (t) => {
  const [client, other] = await pair(t, "empty/values", { qos: 0 });
  other.send(`30 1b ${hex(Buffer.from("\0\fempty/values"))} 0b 03 00 00 09 00 00 26 00 00 00 00 79`);
  const { raw, payload } = await client.message();
  assert.equal(payload.toString(), "y");
  for (const property of ["03 00 00", "09 00 00", "26 00 00 00 00"]) assert.ok(raw.includes(bytes(property)), property);
});

both("a request finds its reply: response topic and correlation data there, correlation data back", async (t) => {
  const [service, reply] = [name("service"), name("reply")];
  const [responder, asker] = await pair(t, service, { qos: 1 });
  await asker.subscribe(reply, { qos: 1 });
  await asker.publish(service, "2+2", { qos: 1, properties: { responseTopic: reply, correlationData: Buffer.from("id-1") } });
  const { properties } = await responder.message();
  await responder.publish(properties.responseTopic, "4", { qos: 1, properties: { correlationData: properties.correlationData } });
  const answer = await asker.message();
  assert.deepEqual([answer.payload.toString(), answer.properties.correlationData.toString()], ["4", "id-1"]);
});

both("order per topic and publisher, over QoS and versions", async (t) => {
  const topic = name();
  const clients = [];
  for (const version of [4, 5, 5]) clients.push((await pair(t, topic, { version }))[0]);
  const publishers = await Promise.all([4, 5, 5, 4].map((version) => connect(t, server, { version })));
  const N = 50;
  await Promise.all(publishers.map(async (p, who) => {
    for (let i = 0; i < N; i++) await p.publish(topic, `${who} ${i}`, { qos: 1 + (who % 2) });
  }));
  for (const client of clients) {
    const seen = payloads(await client.messages(N * publishers.length)).map((text) => text.split(" ").map(Number));
    for (const who of publishers.keys()) assert.deepEqual(seen.filter(([w]) => w === who).map(([, i]) => i), Array.from({ length: N }, (_, i) => i));
  }
});

both("one message to 300 subscribers of both versions and every QoS", async (t) => {
  const topic = name();
  const clients = await Promise.all(Array.from({ length: 300 }, async (_, i) => {
    const client = await connect(t, server, { version: i % 2 ? 4 : 5 });
    await client.subscribe(topic, { qos: i % 3 });
    return client;
  }));
  const other = await connect(t, server);
  for (let i = 0; i < 5; i++) await other.publish(topic, `${i}`, { qos: 2 });
  for (const [i, client] of clients.entries()) {
    const messages = await client.messages(5);
    assert.deepEqual(messages.map((m) => [m.payload.toString(), m.qos]), [0, 1, 2, 3, 4].map((n) => [`${n}`, i % 3]));
  }
});

both("a reader that stalls harms nobody else", async (t) => {
  const topic = name();
  const [stalled, other] = await pair(t, topic, { qos: 0, keepalive: 0 });
  const [reader] = await pair(t, topic, { qos: 0 });
  stalled.socket.pause();
  const payload = Buffer.alloc(100_000, 1);
  for (let i = 0; i < 120; i++) {
    await other.publish(topic, payload);
    await reader.message();
  }
  await other.publish(topic, "end");
  assert.equal((await reader.message()).payload.toString(), "end");
  stalled.socket.resume();
});
