// CONNECT and CONNACK, identity, takeover, keep alive, the ends of sessions.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { bytes, connect, connectPacket, dial, elapsed, hex, name, payloads, quiet, recent } from "../lib/mqtt.mjs";

const server = await shared("mqtt", { shards: 4 });
const VERSIONS = [3, 4, 5];
const WILL = (topic, properties) => ({ topic, payload: "will", qos: 1, retain: false, ...(properties && { properties }) });

for (const version of [3, 4]) {
  both(`level ${version}: CONNACK is two bytes`, async (t) => {
    assert.equal(hex((await connect(t, server, { version })).connack.raw), "20 02 00 00");
  });
}

ours("5.0: CONNACK says what differs from the defaults, in the order clients saw most often", async (t) => {
  const { connack } = await connect(t, server);
  assert.equal(hex(connack.raw), "20 0e 00 00 0b 22 00 0a 27 00 1e 84 80 21 00 14");
});

both("5.0: CONNACK has the alias maximum and the Receive Maximum", async (t) => {
  const { properties } = (await connect(t, server)).connack;
  assert.deepEqual([properties.topicAliasMaximum, properties.receiveMaximum], [10, 20]);
});

ours("an unknown level of MQTT is answered in the form of 5.0", async (t) => {
  const client = await dial(t, server);
  client.send("10 0d 00 04 4d 51 54 54 06 02 00 3c 00 00 00");
  const { cmd, sessionPresent, reasonCode } = await client.next();
  assert.deepEqual([cmd, sessionPresent, reasonCode], ["connack", false, 0x84]);
  await client.gone();
});

for (const [what, packet] of [["MQTT 3", "10 0d 00 04 4d 51 54 54 03 02 00 3c 00 01 61"], ["MQIsdp 4", "10 0f 00 06 4d 51 49 73 64 70 04 02 00 3c 00 01 61"]]) {
  ours(`name and level at odds (${what}): refused with 01`, async (t) => {
    const client = await dial(t, server);
    client.send(packet);
    await client.gone();
    assert.equal(hex(client.received), "20 02 00 01");
  });
}

for (const [what, packet] of [
  ["a PINGREQ", "c0 00"],
  ["a PUBLISH", "30 03 00 01 61"],
  ["CONNECT with flags", "11 0d 00 04 4d 51 54 54 04 02 00 3c 00 01 61"],
  ["a wrong protocol name", "10 0d 00 04 4d 51 54 58 04 02 00 3c 00 01 61"],
  ["the reserved connect flag", "10 0d 00 04 4d 51 54 54 04 03 00 3c 00 01 61"],
  ["will QoS 3", "10 13 00 04 4d 51 54 54 04 1e 00 3c 00 01 61 00 01 62 00 01 63"],
  ["will QoS without a will", "10 0d 00 04 4d 51 54 54 04 0a 00 3c 00 01 61"],
  ["will retain without a will", "10 0d 00 04 4d 51 54 54 04 22 00 3c 00 01 61"],
  ["a password without user name in 3.1.1", "10 10 00 04 4d 51 54 54 04 42 00 3c 00 01 61 00 01 70"],
  ["a user name that is missing", "10 0d 00 04 4d 51 54 54 04 82 00 3c 00 01 61"],
  ["a remaining length of five bytes", "10 80 80 80 80 01"],
]) {
  both(`closed without a word at the start: ${what}`, async (t) => {
    const client = await dial(t, server);
    client.send(packet);
    await client.gone();
    assert.ok(client.received.length === 0 || client.received[0] === 0x20, hex(client.received));
    if (client.received.length > 0) assert.notEqual(client.received[3], 0, "refused");
  });
}

both("5.0 has a password without a user name", async (t) => {
  const client = await dial(t, server);
  client.send("10 11 00 04 4d 51 54 54 05 42 00 3c 00 00 01 61 00 01 70");
  assert.equal((await client.next()).reasonCode, 0);
});

both("5.0: an empty client id is replaced by one of the server, with either clean start", async (t) => {
  const ids = new Set();
  for (const flags of ["02", "00"]) {
    const client = await dial(t, server);
    client.send(`10 0d 00 04 4d 51 54 54 05 ${flags} 00 3c 00 00 00`);
    const { sessionPresent, properties } = await client.next();
    assert.equal(sessionPresent, false);
    ids.add(properties.assignedClientIdentifier);
  }
  assert.equal(ids.size, 2);
  assert.ok(![...ids].includes(undefined));
});

both("5.0: the assigned client id resumes its session", async (t) => {
  const first = await connect(t, server, { clientId: "", expiry: 100 });
  const clientId = first.connack.properties.assignedClientIdentifier;
  await first.end();
  const { connack } = await connect(t, server, { clientId, clean: false });
  assert.equal(connack.sessionPresent, true);
  assert.equal(connack.properties.assignedClientIdentifier, undefined);
});

both("3.1.1: an empty client id needs clean session", async (t) => {
  await connect(t, server, { version: 4, clientId: "", clean: true });
  const client = await dial(t, server, { version: 4 });
  client.send(bytes("10 0c 00 04 4d 51 54 54 04 00 00 3c 00 00"));
  await client.gone();
  assert.equal(hex(client.received), "20 02 00 02");
});

both("3.1: an empty client id is refused, clean or not", async (t) => {
  const client = await dial(t, server, { version: 3 });
  client.send("10 0e 00 06 4d 51 49 73 64 70 03 02 00 3c 00 00");
  await client.gone();
  assert.equal(hex(client.received), "20 02 00 02");
});

for (const id of ["with space", "a/b/c", "+", "#", "a.b>*", "ünï-\u{1f600}", "x".repeat(200), "%c%u", "$id"]) {
  both(`client ids are any text: ${id.slice(0, 20)}`, async (t) => {
    const clientId = id + name("-");
    for (const version of [4, 5]) {
      const first = await connect(t, server, { version, clientId, clean: true, ...(version === 5 && { expiry: 100 }) });
      assert.equal(first.connack.sessionPresent, false);
      await first.end();
    }
    assert.equal((await connect(t, server, { clientId, clean: false })).connack.sessionPresent, true);
  });
}

for (const version of [4, 5]) {
  both(`level ${version}: session present only for a kept session and clean 0`, async (t) => {
    const clientId = name();
    const seen = [];
    const kept = version === 5 ? { expiry: 1_000 } : {};
    for (const clean of [true, false, false, false, true, false]) {
      const client = await connect(t, server, { version, clientId, clean, ...kept });
      seen.push(client.connack.sessionPresent);
      await client.end();
    }
    // In 3.1.1 clean session also says that the session ends with its connection.
    assert.deepEqual(seen, version === 5 ? [false, true, true, true, false, true] : [false, false, true, true, false, false]);
  });
}

both("5.0: without a session expiry the session ends with its connection", async (t) => {
  const clientId = name();
  await (await connect(t, server, { clientId, clean: false })).end();
  assert.equal((await connect(t, server, { clientId, clean: false })).connack.sessionPresent, false);
});

both("5.0: the session lives to its expiry, not longer", async (t) => {
  const [short, long] = [name("short"), name("long")];
  await (await connect(t, server, { clientId: short, expiry: 1 })).end();
  await (await connect(t, server, { clientId: long, expiry: 600 })).end();
  await elapsed(t, server, 3);
  const present = [];
  for (const clientId of [short, long]) present.push((await connect(t, server, { clientId, clean: false })).connack.sessionPresent);
  assert.deepEqual(present, [false, true]);
});

for (const [expiry, atEnd, kept] of [[600, 0, false], [600, undefined, true], [1, 600, true], [600, 4_294_967_295, true]]) {
  both(`5.0: expiry ${expiry}, ${atEnd ?? "none"} in DISCONNECT: ${kept ? "kept" : "ended"}`, async (t) => {
    const clientId = name();
    const first = await connect(t, server, { clientId, expiry });
    await first.end(atEnd === undefined ? undefined : { sessionExpiryInterval: atEnd });
    if (expiry === 1) await elapsed(t, server, 2);
    assert.equal((await connect(t, server, { clientId, clean: false })).connack.sessionPresent, kept);
  });
}

both("5.0: DISCONNECT raises no session expiry from 0, and does not count", async (t) => {
  const topic = name("will");
  const watch = await connect(t, server);
  await watch.subscribe(topic);
  const client = await connect(t, server, { will: WILL(topic) });
  client.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 10 } });
  assert.equal(await client.ending(), 0x82);
  assert.equal((await watch.message()).payload.toString(), "will");
});

both("5.0: clean start ends the old session with what waits in it", async (t) => {
  const [clientId, topic] = [name(), name()];
  const first = await connect(t, server, { clientId, expiry: 600 });
  await first.subscribe(topic, { qos: 1 });
  await first.end();
  const other = await connect(t, server);
  await other.publish(topic, "old", { qos: 1 });
  const second = await connect(t, server, { clientId, clean: true, expiry: 600 });
  await other.publish(topic, "unseen", { qos: 1 });
  await quiet(second, other);
  assert.deepEqual(payloads(second.rest()), []);
});

for (const version of [4, 5]) {
  recent(`level ${version}: takeover ends the old connection, the session goes on with the new one`, async (t) => {
    const [clientId, topic] = [name(), name()];
    const kept = version === 5 ? { expiry: 600 } : {};
    const first = await connect(t, server, { version, clientId, clean: false, ...kept });
    await first.subscribe(topic, { qos: 1 });
    const second = await connect(t, server, { version, clientId, clean: false, ...kept });
    assert.equal(await first.ending(), version === 5 ? 0x8e : undefined);
    assert.equal(second.connack.sessionPresent, true);
    await second.publish(topic, "still subscribed", { qos: 1 });
    assert.deepEqual(payloads([await second.message()]), ["still subscribed"]);
  });
}

recent("many takeovers at once leave one connection", async (t) => {
  const clientId = name();
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(t, server, { clientId, clean: false, expiry: 600 })));
  let left = clients.length;
  await new Promise((resolve) => clients.forEach((c) => c.closed.then(() => --left === 1 && resolve())));
  const alive = clients.filter((c) => !c.inbox.some((p) => p.cmd === "disconnect"));
  assert.equal(alive.length, 1);
  await alive[0].settled();
  assert.deepEqual(clients.filter((c) => c !== alive[0]).map((c) => c.inbox.find((p) => p.cmd === "disconnect")?.reasonCode), Array(19).fill(0x8e));
});

for (const version of [4, 5]) {
  both(`level ${version}: a second CONNECT ends the connection`, async (t) => {
    const client = await connect(t, server, { version });
    client.send(connectPacket(version));
    await client.gone();
  });
}

ours("a second CONNECT is a protocol error", async (t) => {
  const client = await connect(t, server);
  client.send(connectPacket(5));
  assert.equal(await client.ending(), 0x82);
});

for (const version of [4, 5]) {
  both(`level ${version}: silence for 1.5 x keep alive is a lost connection`, async (t) => {
    const topic = name("will");
    const watch = await connect(t, server, { keepalive: 0 });
    await watch.subscribe(topic);
    const client = await connect(t, server, { version, keepalive: 1, will: WILL(topic) });
    const began = performance.now();
    await client.ending();
    const took = performance.now() - began;
    assert.ok(took >= 1_000 && took < 8_000, `${took} ms`);
    await watch.message();
  });
}

ours("the 1.5 x of keep alive is exact, not a whole second more, and told", async (t) => {
  const client = await connect(t, server, { keepalive: 1 });
  const began = performance.now();
  assert.equal(await client.ending(), 0x8d);
  const took = performance.now() - began;
  assert.ok(took >= 1_400 && took < 2_500, `${took} ms`);
});

both("any packet keeps the connection alive; no packet to the client does", async (t) => {
  const topic = name();
  const [client, other] = [await connect(t, server, { keepalive: 2 }), await connect(t, server)];
  await client.subscribe(topic);
  const pings = setInterval(() => client.send({ cmd: "pingreq" }), 400);
  await elapsed(t, server, 4);
  clearInterval(pings);
  await client.publish(topic, "x", { qos: 1 });
  const flow = setInterval(() => other.publish(topic, "y"), 100);
  t.after(() => clearInterval(flow));
  await client.gone();
});

both("CONNECT, SUBSCRIBE, PUBLISH and PINGREQ in one segment", async (t) => {
  for (const version of VERSIONS) {
    const client = await dial(t, server, { version });
    const topic = name();
    client.send(connectPacket(version), { cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 1 }] },
      { cmd: "publish", topic, payload: "in one", qos: 1, messageId: 2 }, { cmd: "pingreq" });
    assert.equal((await client.next()).cmd, "connack");
    await client.of("suback");
    assert.equal((await client.message()).payload.toString(), "in one");
    assert.equal((await client.of("puback")).messageId, 2);
    await client.of("pingresp");
  }
});

both("CONNECT, SUBSCRIBE and PUBLISH byte by byte", async (t) => {
  const client = await dial(t, server);
  const topic = name();
  const stream = Buffer.concat([connectPacket(5, { will: WILL("w"), username: "u", password: Buffer.from("p"), properties: { userProperties: { a: "b" } } }),
    { cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 2 }] }, { cmd: "publish", topic, payload: "bytes", qos: 2, messageId: 2 }, { cmd: "pubrel", messageId: 2 }].map((p) => bytes(p, 5)));
  for (const byte of stream) await new Promise((sent) => client.socket.write(Buffer.of(byte), sent));
  assert.equal((await client.message()).payload.toString(), "bytes");
  await client.of("pubcomp");
});

both("nothing pipelined behind a refused CONNECT is done", async (t) => {
  const topic = name();
  const client = await dial(t, server, { version: 4 });
  client.send("10 0c 00 04 4d 51 54 54 04 00 00 3c 00 00", { cmd: "publish", topic, payload: "x", qos: 0, retain: true });
  await client.gone();
  const watch = await connect(t, server);
  await watch.subscribe(topic);
  await watch.settled();
  assert.deepEqual(watch.rest(), []);
});

both("an unknown authentication method is refused with 8C", async (t) => {
  const client = await dial(t, server);
  client.send(connectPacket(5, { properties: { authenticationMethod: "NO-SUCH", authenticationData: Buffer.from("x") } }));
  await client.gone();
  assert.equal((await client.next()).reasonCode, 0x8c);
});

recent("AUTH that nobody asked for is a protocol error", async (t) => {
  const client = await connect(t, server);
  client.send("f0 0c 19 0a 15 00 07 4e 4f 2d 53 55 43 48");
  assert.equal(await client.ending(), 0x82);
});

both("level 84 is a bridge of 3.1.1: it does not get its own messages, and RETAIN stays", async (t) => {
  const topic = name();
  const bridge = await dial(t, server, { version: 4 });
  const connecting = bytes(connectPacket(4), 4);
  connecting[connecting.indexOf("MQTT") + 4] = 0x84;
  bridge.send(connecting);
  assert.equal(hex((await bridge.next()).raw), "20 02 00 00");
  await bridge.subscribe(topic, { qos: 1 });
  await bridge.publish(topic, "own", { qos: 1 });
  await (await connect(t, server)).publish(topic, "other", { qos: 1, retain: true });
  const message = await bridge.message();
  assert.deepEqual([message.payload.toString(), message.retain], ["other", true]);
});

both("a DISCONNECT with properties and one without a body end in order", async (t) => {
  for (const packet of ["e0 00", "e0 01 00", "e0 02 00 00", { cmd: "disconnect", reasonCode: 0, properties: { reasonString: "bye", userProperties: { a: "b" } } }]) {
    const client = await connect(t, server);
    client.send(packet);
    assert.equal(await client.ending(), undefined);
  }
});
