// Messages from a client: acknowledgements, exactly once, aliases, limits, names.
import assert from "node:assert/strict";
import { REFERENCE, both, ours, shared } from "../lib/sut.mjs";
import { bytes, connect, dial, hex, name, payloads, quiet, recent } from "../lib/mqtt.mjs";

const server = await shared("mqtt", { shards: 4 });
const publish = (topic, messageId, payload = "x", options) => ({ cmd: "publish", topic, payload, qos: 2, messageId, retain: false, dup: false, ...options });
const count = (n) => Array.from({ length: n }, (_, i) => i);
async function watching(t, topic, options = { qos: 2 }) {
  const watch = await connect(t, server);
  await watch.subscribe(topic, options);
  return watch;
}

for (const version of [3, 4, 5]) {
  both(`level ${version}: acknowledgements have their shortest form`, async (t) => {
    const topic = name();
    await watching(t, topic);
    const client = await connect(t, server, { version });
    client.send(publish(topic, 0x1234, "x", { qos: 1 }));
    assert.equal(hex((await client.next()).raw), "40 02 12 34");
    client.send(publish(topic, 0x1235));
    assert.equal(hex((await client.next()).raw), "50 02 12 35");
    client.send({ cmd: "pubrel", messageId: 0x1235 });
    assert.equal(hex((await client.next()).raw), "70 02 12 35");
  });

  both(`level ${version}: every QoS to every QoS, the lower one counts, once each`, async (t) => {
    const topic = name();
    const watches = await Promise.all([0, 1, 2].map((qos) => watching(t, topic, { qos })));
    const client = await connect(t, server, { version });
    for (const qos of [0, 1, 2]) await client.publish(topic, `q${qos}`, { qos });
    for (const [granted, watch] of watches.entries()) {
      const messages = await watch.messages(3);
      assert.deepEqual(messages.map((m) => [m.payload.toString(), m.qos, m.dup, m.retain]), [0, 1, 2].map((qos) => [`q${qos}`, Math.min(qos, granted), false, false]));
    }
    for (const watch of watches) {
      await quiet(watch, client);
      assert.deepEqual(watch.rest(), []);
    }
  });
}

both("5.0, QoS 1 and nobody subscribed: 10; QoS 2: plain", async (t) => {
  const client = await connect(t, server);
  client.send(publish(name(), 7, "x", { qos: 1 }));
  assert.equal(hex((await client.next()).raw), "40 03 00 07 10");
  client.send(publish(name(), 8));
  const pubrec = await client.next();
  assert.ok([0, 0x10].includes(pubrec.reasonCode));
  if (!REFERENCE) assert.equal(hex(pubrec.raw), "50 02 00 08");
});

both("acknowledgements leave in the order of the packets, over many topics", async (t) => {
  const client = await connect(t, server);
  const topics = count(16).map(() => name());
  for (let round = 0; round < 20; round++) {
    const ids = count(10).map((i) => round * 20 + i + 1);
    client.send(...ids.map((id) => publish(topics[(id * 7) % 16], id, "x", { qos: 1 })), ...ids.map((id) => publish(topics[(id * 5) % 16], id + 10)));
    const acks = [];
    while (acks.length < 20) acks.push(await client.next());
    for (const [cmd, shift] of [["puback", 0], ["pubrec", 10]]) {
      assert.deepEqual(acks.filter((a) => a.cmd === cmd).map((a) => a.messageId), ids.map((id) => id + shift));
    }
    client.send(...ids.map((id) => ({ cmd: "pubrel", messageId: id + 10 })));
    const done = [];
    while (done.length < 10) done.push((await client.of("pubcomp")).messageId);
    assert.deepEqual(done, ids.map((id) => id + 10));
  }
});

for (const version of [4, 5]) {
  both(`level ${version}: a publisher that subscribes sees PUBLISH before PUBACK, and before PUBCOMP`, async (t) => {
    const topic = name();
    const client = await connect(t, server, { version, manual: true });
    await client.subscribe(topic);
    client.send(publish(topic, 3, "x", { qos: 1 }));
    assert.deepEqual([(await client.next()).cmd, (await client.next()).cmd], ["publish", "puback"]);
    client.send(publish(topic, 4));
    await client.of("pubrec");
    client.send({ cmd: "pubrel", messageId: 4 });
    assert.deepEqual([(await client.next()).cmd, (await client.next()).cmd], ["publish", "pubcomp"]);
  });
}

both("QoS 1: an id that was acknowledged is a new message, DUP or not", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  const client = await connect(t, server);
  for (const dup of [false, true, false]) {
    client.send(publish(topic, 5, `dup ${dup}`, { qos: 1, dup }));
    await client.of("puback");
  }
  assert.deepEqual(payloads(await watch.messages(3)), ["dup false", "dup true", "dup false"]);
});

both("QoS 2: the same id again before PUBREL is acknowledged and not delivered again", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  const client = await connect(t, server);
  for (const dup of [false, true]) {
    client.send(publish(topic, 6, "once", { dup }));
    assert.equal((await client.next()).cmd, "pubrec");
  }
  client.send({ cmd: "pubrel", messageId: 6 });
  await client.of("pubcomp");
  await client.publish(topic, "end");
  assert.deepEqual(payloads(await watch.messages(2)), ["once", "end"]);
});

ours("QoS 2: any number of repetitions, DUP or not; of two messages under one id the first counts", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  const client = await connect(t, server);
  for (const dup of [false, true, true, false, true]) {
    client.send(publish(topic, 6, dup ? "other" : "first", { dup }));
    assert.equal(hex((await client.next()).raw), "50 02 00 06");
  }
  client.send({ cmd: "pubrel", messageId: 6 });
  await client.of("pubcomp");
  await client.publish(topic, "end");
  assert.deepEqual(payloads(await watch.messages(2)), ["first", "end"]);
});

both("QoS 2: after PUBCOMP the id is free", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  const client = await connect(t, server);
  for (const text of ["one", "two", "three"]) {
    client.send(publish(topic, 9, text), { cmd: "pubrel", messageId: 9 });
    await client.of("pubcomp");
  }
  assert.deepEqual(payloads(await watch.messages(3)), ["one", "two", "three"]);
});

both("PUBREL always gets PUBCOMP, also for an id nobody knows", async (t) => {
  for (const version of [4, 5]) {
    const client = await connect(t, server, { version });
    client.send({ cmd: "pubrel", messageId: 99 });
    const pubcomp = await client.of("pubcomp");
    assert.equal(pubcomp.messageId, 99);
    if (!REFERENCE) assert.equal(hex(pubcomp.raw), "70 02 00 63");
  }
});

both("acknowledgements nobody waits for do no harm; PUBREC gets PUBREL", async (t) => {
  const client = await connect(t, server, { manual: true });
  client.send({ cmd: "puback", messageId: 77 }, { cmd: "pubcomp", messageId: 78 });
  await client.settled();
  client.send({ cmd: "pubrec", messageId: 79 });
  assert.equal((await client.of("pubrel")).messageId, 79);
});

both("ids 1 to 65,535 are the client's, whatever the server uses", async (t) => {
  const topic = name();
  const client = await connect(t, server);
  await client.subscribe(topic, { qos: 1 });
  for (const id of [1, 65_535, 2, 32_768]) {
    client.send(publish(topic, id, `${id}`, { qos: 1 }));
    assert.equal((await client.of("puback")).messageId, id);
  }
  assert.deepEqual(payloads(await client.messages(4)), ["1", "65535", "2", "32768"]);
});

both("alias: set with a topic, used without, moved, several at once; v3 and v5 subscribers see topics and no alias", async (t) => {
  const [a, b] = [name("a"), name("b")];
  const watches = [];
  for (const version of [4, 5]) watches.push(await connect(t, server, { version }));
  for (const watch of watches) await watch.subscribe([a, b], { qos: 1 });
  const client = await connect(t, server);
  const steps = [[a, 1, "1"], ["", 1, "2"], [b, 10, "3"], ["", 10, "4"], [b, 1, "5"], ["", 1, "6"], ["", 10, "7"], [a, undefined, "8"]];
  for (const [topic, topicAlias, payload] of steps) await client.publish(topic, payload, { qos: 1, ...(topicAlias && { properties: { topicAlias } }) });
  const expected = { 1: a, 2: a, 3: b, 4: b, 5: b, 6: b, 7: b, 8: a };
  for (const watch of watches) {
    const messages = await watch.messages(8);
    assert.deepEqual(Object.fromEntries(messages.map((m) => [m.payload.toString(), m.topic])), expected);
    assert.ok(messages.every((m) => m.properties?.topicAlias === undefined));
  }
});

for (const [test, alias, octets] of [[ours, "0", "00 00"], [recent, "above the maximum", "00 0b"], [recent, "65,535", "ff ff"]]) {
  test(`alias ${alias}: 94`, async (t) => {
    const client = await connect(t, server);
    client.send(`30 07 00 01 74 03 23 ${octets}`);
    assert.equal(await client.ending(), 0x94);
  });
}

recent("an alias of the connection before is not known", async (t) => {
  const clientId = name();
  const first = await connect(t, server, { clientId, expiry: 100 });
  await first.publish(name(), "x", { qos: 1, properties: { topicAlias: 3 } });
  await first.end();
  const second = await connect(t, server, { clientId, clean: false, expiry: 100 });
  second.send({ cmd: "publish", topic: "", payload: "x", qos: 0, properties: { topicAlias: 3 } });
  assert.equal(await second.ending(), 0x82);
});

ours("more than Receive Maximum unacknowledged: 93", async (t) => {
  const client = await connect(t, server);
  const topic = name();
  client.send(...count(21).map((i) => publish(topic, i + 1)));
  assert.equal(await client.ending(), 0x93);
});

both("Receive Maximum unacknowledged exchanges are fine, QoS 0 and 1 pass beside them", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  const client = await connect(t, server);
  client.send(...count(19).map((i) => publish(topic, i + 1)));
  await client.publish(topic, "zero");
  for (let i = 0; i < 5; i++) {
    client.send(publish(topic, 100, "one", { qos: 1 }));
    await client.of("puback");
  }
  client.send(...count(19).map((i) => ({ cmd: "pubrel", messageId: i + 1 })));
  assert.equal((await watch.messages(25)).length, 25);
});

ours("a flood over Receive Maximum leaves the reason readable", async (t) => {
  const client = await connect(t, server);
  const topic = name();
  client.send(...count(2_000).map((i) => publish(topic, i + 1, "x".repeat(1_000))));
  assert.equal(await client.ending(), 0x93);
});

ours("a packet over our maximum is refused by its fixed header, before its body", async (t) => {
  const client = await connect(t, server);
  client.send("30 81 89 7a"); // 2,000,001 bytes announced
  assert.equal(await client.ending(), 0x95);
  const old = await connect(t, server, { version: 4 });
  old.send("30 81 89 7a");
  assert.equal(await old.ending(), undefined);
});

both("large payloads arrive whole", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  const client = await connect(t, server, { version: 4 });
  for (const [qos, size] of [[0, 127], [1, 128], [2, 16_383], [0, 16_384], [1, 200_000], [2, 1_900_000]]) {
    const payload = Buffer.alloc(size, qos + size);
    await client.publish(topic, payload, { qos });
    assert.equal(Buffer.compare((await watch.message()).payload, payload), 0, `${size} bytes`);
  }
});

both("empty and binary payloads arrive as they are", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  const client = await connect(t, server);
  for (const payload of [Buffer.alloc(0), Buffer.from([0, 255, 128]), Buffer.from("\u0000{]")]) {
    await client.publish(topic, payload, { qos: 1 });
    assert.equal(Buffer.compare((await watch.message()).payload, payload), 0);
  }
});

for (const shape of ["a.b.c", "a*b", ">", "a>b", "50%", "with space", " ", "a//b", "/outer/", "/", "ünï/\u{1f600}", "$own/x", "a$b", "x".repeat(2_000), "\ufeffbom"]) {
  both(`topics keep their bytes: ${shape.slice(0, 20)}`, async (t) => {
    const topic = shape.startsWith("$") ? `${shape}${name()}` : `${name()}${shape}`;
    const watch = await watching(t, topic);
    for (const version of [4, 5]) {
      const client = await connect(t, server, { version });
      await client.publish(topic, `${version}`, { qos: 1 });
      const message = await watch.message();
      assert.equal(message.topic, topic);
    }
  });
}

for (const root of ["$SYS", "$sys", "$user", "$client", "$share"]) {
  ours(`${root} belongs to the server: 87 and the connection stays; 3.1.1: acknowledged, dropped`, async (t) => {
    const topic = `${root}/${name()}`;
    const watch = await connect(t, server);
    if (root !== "$share") await watch.subscribe(topic, { qos: 1 });
    const client = await connect(t, server);
    assert.equal((await client.publish(topic, "x", { qos: 1 })).reasonCode, 0x87);
    const refused = await client.publish(topic, "x", { qos: 2 });
    assert.deepEqual([refused.cmd, refused.reasonCode], ["pubrec", 0x87]);
    await client.publish(topic, "x", { qos: 0 });
    await client.settled();
    const old = await connect(t, server, { version: 4 });
    for (const qos of [1, 2]) await old.publish(topic, "x", { qos });
    await quiet(watch, old);
    assert.deepEqual(watch.rest(), []);
  });
}

ours("a topic over the limit: 90, the connection stays; 3.1.1: acknowledged, dropped", async (t) => {
  const topic = "x".repeat(2_049);
  const client = await connect(t, server);
  assert.equal((await client.publish(topic, "x", { qos: 1 })).reasonCode, 0x90);
  assert.equal((await client.publish(topic, "x", { qos: 2 })).reasonCode, 0x90);
  await client.settled();
  const old = await connect(t, server, { version: 4 });
  await old.publish(topic, "x", { qos: 1 });
  await old.settled();
});

both("what a 3.1.1 publisher sends reaches 5.0 byte for byte, and back", async (t) => {
  const topic = "mix/abc";
  const [four, five] = [await connect(t, server, { version: 4 }), await connect(t, server)];
  for (const client of [four, five]) await client.subscribe(topic);
  four.send("30 0c 00 07 6d 69 78 2f 61 62 63 01 02 ff");
  assert.equal(hex((await four.next()).raw), "30 0c 00 07 6d 69 78 2f 61 62 63 01 02 ff");
  assert.equal(hex((await five.next()).raw), "30 0d 00 07 6d 69 78 2f 61 62 63 00 01 02 ff");
  five.send("30 16 00 07 6d 69 78 2f 61 62 63 09 26 00 01 6b 00 03 76 c3 a4 01 02 ff");
  assert.equal(hex((await four.next()).raw), "30 0c 00 07 6d 69 78 2f 61 62 63 01 02 ff");
  assert.equal(hex((await five.next()).raw), "30 16 00 07 6d 69 78 2f 61 62 63 09 26 00 01 6b 00 03 76 c3 a4 01 02 ff");
});

both("a client that goes away in the middle of a packet does no harm", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  const whole = bytes(publish(topic, 1, "never", { qos: 1 }), 5);
  for (let length = 1; length < whole.length; length++) {
    const client = await dial(t, server);
    await client.connect({});
    client.send(whole.subarray(0, length));
    client.socket.end();
    await client.gone();
  }
  const client = await connect(t, server);
  await client.publish(topic, "whole", { qos: 1 });
  assert.deepEqual(payloads([await watch.message()]), ["whole"]);
});
