// Settings: users, rules per filter, caps that CONNACK tells.
import assert from "node:assert/strict";
import { REFERENCE, both, ours, start } from "../lib/sut.mjs";
import { bytes, connect, connectPacket, dial, elapsed, exactly, name, payloads, quiet, recent } from "../lib/mqtt.mjs";

async function serving(t, settings) {
  const server = await start("mqtt", { shards: 2, drainMs: 50, ...settings });
  t.after(() => server.stop());
  return server;
}
/** The code of CONNACK. */
async function code(t, server, options) {
  const client = await dial(t, server, { version: options.version });
  await client.connect(options);
  return client.connack.reasonCode ?? client.connack.returnCode;
}

both("users: right, wrong, unknown and missing passwords", async (t) => {
  const server = await serving(t, { mqttUsers: [{ name: "ann", password: "secret" }, { name: "bö b", password: "pä:ss" }] });
  const p = (text) => Buffer.from(text);
  for (const [options, five, four] of [
    [{ username: "ann", password: p("secret") }, 0, 0],
    [{ username: "bö b", password: p("pä:ss") }, 0, 0],
    [{ username: "ann", password: p("Secret") }, 0x86, 4],
    [{ username: "ann", password: p("") }, 0x86, 4],
    [{ username: "ann" }, 0x86, 4],
    [{ username: "nobody", password: p("secret") }, 0x86, 4],
    [{}, 0, 0],
  ]) {
    const [got5, got4] = [await code(t, server, { version: 5, ...options }), await code(t, server, { version: 4, ...options })];
    // The reference says "not authorized" for all of them.
    if (REFERENCE && five) assert.ok(got5 >= 0x80 && got4 >= 4);
    else assert.deepEqual([got5, got4], [five, four], JSON.stringify(options));
  }
});

ours("a refused CONNECT takes nothing over", async (t) => {
  const server = await serving(t, { mqttUsers: [{ name: "ann", password: "secret" }] });
  const clientId = name();
  const first = await connect(t, server, { clientId, username: "ann", password: Buffer.from("secret") });
  assert.equal(await code(t, server, { clientId, username: "ann", password: Buffer.from("wrong") }), 0x86);
  await first.settled();
});

const RULES = [
  { filter: "test/nosubscribe", deny: ["subscribe"], code: 0x80 },
  { filter: "secret/#", deny: ["subscribe", "publish"] },
  { filter: "readonly/#", deny: ["publish"] },
];

ours("rules: a denied SUBSCRIBE has its code, default 87, 3.1.1: 80; other filters of the packet are granted", async (t) => {
  const server = await serving(t, { mqttAcl: RULES });
  const filters = ["test/nosubscribe", "open", "secret/a", "secret/#", "secret", "$share/g/secret/a", "readonly/a"];
  const five = await connect(t, server);
  assert.deepEqual((await five.subscribe(filters, { qos: 1 })).granted, [0x80, 1, 0x87, 0x87, 0x87, 0x87, 1]);
  const four = await connect(t, server, { version: 4 });
  assert.deepEqual((await four.subscribe(filters, { qos: 1 })).granted, [0x80, 1, 0x80, 0x80, 0x80, 0x80, 1]);
});

ours("rules: a grant has to cover the whole filter", async (t) => {
  const server = await serving(t, { mqttAclDefault: "deny", mqttAcl: [{ filter: "open/#", allow: ["subscribe", "publish"] }, { filter: "one/+", allow: ["subscribe"] }] });
  const client = await connect(t, server);
  const filters = ["#", "+/a", "open/#", "open/+/x", "open", "one/+", "one/a", "one/#", "one/a/b", "$share/g/open/#", "$share/g/#", "$own/x"];
  assert.deepEqual((await client.subscribe(filters, { qos: 0 })).granted, [0x87, 0x87, 0, 0, 0, 0, 0, 0x87, 0x87, 0, 0x87, 0x87]);
  assert.equal((await client.publish("one/a", "x", { qos: 1 })).reasonCode, 0x87);
  assert.equal((await client.publish("open/a", "x", { qos: 1 })).reasonCode, 0);
});

ours("rules: %c and %u stand for client id and user, values with wildcards or levels never match", async (t) => {
  const server = await serving(t, {
    mqttAclDefault: "deny",
    mqttUsers: [{ name: "ann", password: "secret" }, { name: "b/c", password: "secret" }],
    mqttAcl: [{ filter: "device/%c/#", allow: ["subscribe", "publish"] }, { filter: "user/%u", allow: ["subscribe"] }],
  });
  const granted = async (options, ...filters) => (await (await connect(t, server, options)).subscribe(filters)).granted;
  const password = Buffer.from("secret");
  assert.deepEqual(await granted({ clientId: "d1", username: "ann", password }, "device/d1/#", "device/d2/#", "device/+/x", "user/ann", "user/+"), [0, 0x87, 0x87, 0, 0x87]);
  for (const clientId of ["+", "#", "a/b"]) assert.deepEqual(await granted({ clientId }, `device/${clientId}${clientId === "#" ? "" : "/x"}`), [0x87]);
  assert.deepEqual(await granted({ username: "b/c", password }, "user/b/c"), [0x87]);
  assert.deepEqual(await granted({}, "user/%u", "user/"), [0x87, 0x87]);
});

ours("rules: a denied PUBLISH is answered with 87 and the connection stays; 3.1.1: acknowledged, dropped", async (t) => {
  const server = await serving(t, { mqttAcl: RULES });
  const watch = await connect(t, server);
  await watch.subscribe("readonly/#", { qos: 2 });
  const client = await connect(t, server);
  assert.equal((await client.publish("readonly/a", "x", { qos: 1 })).reasonCode, 0x87);
  assert.equal((await client.publish("readonly/a", "x", { qos: 2 })).reasonCode, 0x87);
  await client.publish("readonly/a", "x", { retain: true });
  await client.settled();
  const four = await connect(t, server, { version: 4 });
  for (const qos of [1, 2]) await four.publish("readonly/a", "x", { qos });
  await quiet(watch, four);
  assert.deepEqual(watch.rest(), []);
  // A refused QoS 2 id is free again.
  client.send({ cmd: "publish", topic: "open", payload: "x", qos: 2, messageId: 2, dup: false, retain: false });
  assert.equal((await client.of("pubrec")).reasonCode, 0);
});

both("rules: a denied PUBLISH reaches nobody, the connection stays", async (t) => {
  const server = await serving(t, { mqttAcl: [{ filter: "secret/#", deny: ["publish"] }] });
  const watch = await connect(t, server);
  await watch.subscribe(["secret/#", "open"], { qos: 1 });
  for (const version of [4, 5]) {
    const client = await connect(t, server, { version });
    await client.publish("secret/a", "x", { qos: 1 });
    await client.publish("open", "y", { qos: 1 });
    assert.deepEqual(payloads(await exactly(watch, 1, client)), ["y"]);
  }
});

ours("rules: the will's topic is asked at CONNECT", async (t) => {
  const server = await serving(t, { mqttAcl: RULES });
  const will = { topic: "readonly/will", payload: "x", qos: 0, retain: false };
  assert.equal(await code(t, server, { version: 5, will }), 0x87);
  assert.equal(await code(t, server, { version: 4, will }), 5);
});

recent("Server Keep Alive caps 5.0 and is told; smaller values stay", async (t) => {
  const server = await serving(t, { mqttKeepAliveS: 60 });
  for (const [keepalive, told] of [[120, 60], [65_535, 60], [0, 60], [60, undefined], [30, undefined]]) {
    const { connack } = await connect(t, server, { keepalive });
    assert.equal(connack.properties?.serverKeepAlive, told, `${keepalive}`);
  }
});

ours("Server Keep Alive binds no 3.1.1 client", async (t) => {
  const server = await serving(t, { mqttKeepAliveS: 1 });
  const five = await connect(t, server, { keepalive: 100 });
  const four = await connect(t, server, { version: 4, keepalive: 100 });
  const zero = await connect(t, server, { version: 4, keepalive: 0 });
  assert.equal(await five.ending(), 0x8d);
  for (const client of [four, zero]) await client.settled();
});

ours("the cap of session expiry is told to 5.0 and holds silently for 3.1.1", async (t) => {
  const server = await serving(t, { mqttSessionExpirySMax: 1 });
  for (const [expiry, told] of [[0, undefined], [1, undefined], [2, 1], [4_294_967_295, 1]]) {
    const { connack } = await connect(t, server, { expiry });
    assert.equal(connack.properties?.sessionExpiryInterval, told, `${expiry}`);
  }
  const ids = { 4: name(), 5: name() };
  for (const [version, clientId] of Object.entries(ids)) await (await connect(t, server, { version: Number(version), clientId, clean: false, ...(version === "5" && { expiry: 600 }) })).end();
  await elapsed(t, server, 1);
  await elapsed(t, server, 1);
  for (const [version, clientId] of Object.entries(ids)) assert.equal((await connect(t, server, { version: Number(version), clientId, clean: false })).connack.sessionPresent, false);
});

ours("3.1.1 has the configured window", async (t) => {
  const server = await serving(t, { mqttV3ReceiveMax: 20 });
  const [client, other] = [await connect(t, server, { version: 4, manual: true }), await connect(t, server)];
  const topic = name();
  await client.subscribe(topic, { qos: 1 });
  for (let i = 0; i < 30; i++) await other.publish(topic, `${i}`, { qos: 1 });
  const messages = await client.messages(20);
  await client.settled();
  assert.deepEqual(client.inbox, []);
  client.send({ cmd: "puback", messageId: messages[0].messageId });
  assert.equal((await client.message()).payload.toString(), "20");
});

both("Receive Maximum and alias maximum as configured", async (t) => {
  const server = await serving(t, { mqttReceiveMax: 5, mqttAliasMax: 3 });
  const client = await connect(t, server);
  assert.deepEqual([client.connack.properties.receiveMaximum, client.connack.properties.topicAliasMaximum], [5, 3]);
  await client.publish("t", "x", { qos: 1, properties: { topicAlias: 3 } });
});

ours("no aliases as configured: the property is left out, one is 94", async (t) => {
  const server = await serving(t, { mqttAliasMax: 0 });
  const client = await connect(t, server);
  assert.equal(client.connack.properties?.topicAliasMaximum, undefined);
  client.send({ cmd: "publish", topic: "t", payload: "x", qos: 0, properties: { topicAlias: 1 } });
  assert.equal(await client.ending(), 0x94);
});

recent("Maximum Packet Size as configured: told, and 95 above it", async (t) => {
  const server = await serving(t, { mqttPacketBytesMax: 2_000 });
  const client = await connect(t, server);
  assert.equal(client.connack.properties.maximumPacketSize, 2_000);
  await client.publish("t", "x".repeat(1_900), { qos: 1 });
  client.send({ cmd: "publish", topic: "t", payload: "x".repeat(2_000), qos: 1, messageId: 9 });
  assert.equal(await client.ending(), 0x95);
});

ours("Maximum Packet Size is exact to the byte", async (t) => {
  const server = await serving(t, { mqttPacketBytesMax: 2_000 });
  const packet = (size) => bytes({ cmd: "publish", topic: "t", payload: "x".repeat(size - 9), qos: 1, messageId: 9 }, 5);
  assert.equal(packet(2_000).length, 2_000);
  const client = await connect(t, server);
  client.send(packet(2_000));
  await client.of("puback");
  client.send(packet(2_001));
  assert.equal(await client.ending(), 0x95);
});

ours("no CONNECT in time: closed", async (t) => {
  const server = await serving(t, { handshakeTimeoutMs: 400 });
  const silent = await dial(t, server);
  const half = await dial(t, server);
  half.send(bytes(connectPacket(5), 5).subarray(0, 7));
  const began = performance.now();
  await Promise.all([silent.gone(), half.gone()]);
  const took = performance.now() - began;
  assert.ok(took >= 350 && took < 6_000, `${took} ms`);
});

ours("SIGTERM: clients of 5.0 are told 8B, those of 3.1.1 are closed", async (t) => {
  const server = await serving(t, { drainMs: 200 });
  const [five, four] = [await connect(t, server), await connect(t, server, { version: 4 })];
  server.child.kill("SIGTERM");
  assert.ok([0x8b, 0x9c].includes(await five.ending()));
  await four.gone();
  assert.deepEqual(await server.exited, { code: 0, signal: null }, server.log());
});
