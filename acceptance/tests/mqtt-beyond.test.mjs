// What the server does for clients of MQTT beyond what the protocol asks of every server.
import assert from "node:assert/strict";
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { REFERENCE, start } from "../lib/sut.mjs";
import { ask, next, open } from "../lib/clients.mjs";
import { connect, connectPacket, dial, hex, name, payloads, quiet } from "../lib/mqtt.mjs";
import { api } from "../lib/rest.mjs";

const rule = (what, fn) => test(what, { skip: REFERENCE && "rule of Trunkline", timeout: 120_000 }, fn);
async function serving(t, settings) {
  const server = await start("mqtt", { shards: 2, drainMs: 50, ...settings });
  t.after(() => server.stop());
  return server;
}

const METHOD = "SCRAM-SHA-256";
const hmac = (key, text) => createHmac("sha256", key).update(text).digest();
const xor = (a, b) => Buffer.from(a.map((byte, i) => byte ^ b[i]));

/** A client of SCRAM (RFC 5802, 7677): its first message, and from the server's first one its last and the proof it expects back. */
function scram(user, password) {
  const bare = `n=${user},r=${randomBytes(18).toString("base64")}`;
  return {
    first: Buffer.from(`n,,${bare}`),
    final(serverFirst) {
      const { r, s, i } = Object.fromEntries(serverFirst.split(",").map((part) => [part[0], part.slice(2)]));
      assert.ok(r.startsWith(bare.split("r=")[1]), "our nonce comes back");
      assert.ok(Number(i) >= 4_096, "iterations of RFC 7677");
      const salted = pbkdf2Sync(password, Buffer.from(s, "base64"), Number(i), 32, "sha256");
      const clientKey = hmac(salted, "Client Key");
      const without = `c=biws,r=${r}`;
      const auth = `${bare},${serverFirst},${without}`;
      const proof = xor(clientKey, hmac(createHash("sha256").update(clientKey).digest(), auth));
      return { last: Buffer.from(`${without},p=${proof.toString("base64")}`), verifier: `v=${hmac(hmac(salted, "Server Key"), auth).toString("base64")}` };
    },
  };
}
const auth = (reasonCode, authenticationData) => ({ cmd: "auth", reasonCode, properties: { authenticationMethod: METHOD, authenticationData } });

async function login(t, server, user, password) {
  const client = await dial(t, server);
  const exchange = scram(user, password);
  client.send(connectPacket(5, { properties: { authenticationMethod: METHOD, authenticationData: exchange.first } }));
  const challenge = await client.next();
  assert.deepEqual([challenge.cmd, challenge.reasonCode, challenge.properties.authenticationMethod], ["auth", 0x18, METHOD]);
  const { last, verifier } = exchange.final(challenge.properties.authenticationData.toString());
  client.send(auth(0x18, last));
  return { client, verifier, answer: await client.next() };
}
const USERS = { mqttUsers: [{ name: "ann", password: "secret" }] };

rule("SCRAM-SHA-256: the right password, and the server proves that it knows it", async (t) => {
  const server = await serving(t, USERS);
  const { client, verifier, answer } = await login(t, server, "ann", "secret");
  assert.deepEqual([answer.cmd, answer.reasonCode, answer.properties.authenticationMethod], ["connack", 0, METHOD]);
  assert.equal(answer.properties.authenticationData.toString(), verifier);
  // Again while the connection lasts; other traffic goes on.
  const exchange = scram("ann", "secret");
  client.send(auth(0x19, exchange.first));
  const challenge = await client.of("auth");
  await client.settled();
  const again = exchange.final(challenge.properties.authenticationData.toString());
  client.send(auth(0x18, again.last));
  const done = await client.of("auth");
  assert.deepEqual([done.reasonCode, done.properties.authenticationData.toString()], [0, again.verifier]);
});

rule("SCRAM-SHA-256: a wrong password and an unknown user are refused alike", async (t) => {
  const server = await serving(t, USERS);
  for (const [user, password] of [["ann", "wrong"], ["nobody", "secret"]]) {
    const { answer } = await login(t, server, user, password);
    assert.deepEqual([answer.cmd, answer.reasonCode >= 0x86 && answer.reasonCode <= 0x87], ["connack", true]);
  }
});

rule("SCRAM-SHA-256: a failed second authentication ends the connection with 87; a PUBLISH inside the first is 82", async (t) => {
  const server = await serving(t, USERS);
  const { client } = await login(t, server, "ann", "secret");
  client.send(auth(0x19, scram("ann", "secret").first));
  await client.of("auth");
  client.send(auth(0x18, Buffer.from("c=biws,r=wrong,p=AAAA")));
  assert.equal(await client.ending(), 0x87);
  const early = await dial(t, server);
  early.send(connectPacket(5, { properties: { authenticationMethod: METHOD, authenticationData: scram("ann", "x").first } }));
  await early.of("auth");
  early.send({ cmd: "publish", topic: "t", payload: "x", qos: 0 });
  await early.gone();
  assert.equal(early.inbox.find((p) => p.cmd === "connack")?.reasonCode, 0x82, hex(early.received));
});

rule("Response Information: a topic where only this session may subscribe and any client publish", async (t) => {
  const server = await serving(t, {});
  const asker = await connect(t, server, { properties: { requestResponseInformation: true } });
  const prefix = asker.connack.properties.responseInformation;
  assert.match(prefix, /^reply\/.+\/$/);
  assert.deepEqual((await asker.subscribe(`${prefix}#`, { qos: 1 })).granted, [1]);
  const other = await connect(t, server);
  assert.equal(other.connack.properties?.responseInformation, undefined);
  assert.deepEqual((await other.subscribe(`${prefix}#`, { qos: 1 })).granted, [0x87]);
  await other.publish(`${prefix}a`, "x", { qos: 1 });
  assert.deepEqual(payloads([await asker.message()]), ["x"]);
});

rule("$delayed/<seconds>/<topic>: published later", async (t) => {
  const server = await serving(t, {});
  const topic = name();
  const watch = await connect(t, server);
  await watch.subscribe(topic, { qos: 1 });
  const client = await connect(t, server);
  const began = performance.now();
  await client.publish(`$delayed/1/${topic}`, "late", { qos: 1 });
  assert.equal((await watch.message(3_000)).payload.toString(), "late");
  const took = performance.now() - began;
  assert.ok(took >= 980 && took < 3_000, `${took} ms`);
});

rule("$SYS/broker has the number of clients", async (t) => {
  const server = await serving(t, { mqttSysIntervalS: 1 });
  const client = await connect(t, server);
  await client.subscribe("$SYS/broker/clients/connected");
  // The retained figure may be from before this client.
  const seen = [await client.message(5_000)];
  if (seen[0].payload.toString() === "0") seen.push(await client.message(5_000));
  const message = seen.at(-1);
  assert.equal(message.payload.toString(), "1");
  assert.equal(message.topic, "$SYS/broker/clients/connected");
});

for (const version of [4, 5]) {
  rule(`level ${version}: a publisher that subscribes sees its QoS 2 message between PUBREC and PUBCOMP, as from mosquitto`, async (t) => {
    const server = await serving(t, {});
    const topic = name();
    const client = await connect(t, server, { version, manual: true });
    await client.subscribe(topic);
    client.send({ cmd: "publish", topic, payload: "x", qos: 2, messageId: 4, dup: false, retain: false });
    const seen = [(await client.next()).cmd];
    client.send({ cmd: "pubrel", messageId: 4 });
    while (seen.length < 3) seen.push((await client.next()).cmd);
    assert.deepEqual(seen, ["pubrec", "publish", "pubcomp"]);
  });
}

rule("a retained message that is set while a subscription is made comes once", async (t) => {
  const server = await serving(t, { shards: 4 });
  const client = await connect(t, server);
  const topic = name();
  await client.publish(topic, "0", { qos: 1, retain: true });
  const sending = (async () => {
    for (let i = 1; i <= 400; i++) await client.publish(topic, `${i}`, { qos: 1, retain: true });
  })();
  const watches = [];
  for (let i = 0; i < 20; i++) {
    watches.push(await connect(t, server));
    await watches[i].subscribe(topic, { qos: 1 });
  }
  await sending;
  for (const watch of watches) {
    const seen = [];
    while (seen.at(-1) !== "400") seen.push((await watch.message()).payload.toString());
    assert.equal(new Set(seen).size, seen.length, `twice: ${seen.find((n, i) => n === seen[i - 1])}`);
  }
});

rule("rules: what may not be subscribed comes through no wider filter", async (t) => {
  const server = await serving(t, { mqttAcl: [{ filter: "test/nosubscribe", deny: ["subscribe"] }] });
  const [client, other] = [await connect(t, server), await connect(t, server)];
  await client.subscribe(["#", "+/a", "test/+", "+/nosubscribe"], { qos: 1 });
  await other.publish("test/nosubscribe", "x", { qos: 1 });
  await quiet(client, other);
  assert.deepEqual(client.rest(), []);
});

rule("REST -> an MQTT session that is away: queued, and delivered later", async (t) => {
  const server = await serving(t, {});
  const [clientId, channel] = [name(), name("rest")];
  const client = await connect(t, server, { clientId, expiry: 600 });
  await client.subscribe(channel, { qos: 1 });
  await client.end();
  const answer = await api(server, "POST", "/v1/messages", { channel, data: { waits: true } });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual([answer.json.results[0].delivered, answer.json.results[0].queued], [0, 1]);
  const again = await connect(t, server, { clientId, clean: false, expiry: 600 });
  assert.equal((await again.message()).payload.toString(), '{"waits":true}');
});

rule("REST and Socket.IO -> a subscription of QoS 2: at QoS 1 or 2, volatile ones at QoS 0", async (t) => {
  const server = await serving(t, {});
  const socket = open(t, server, "/chat", { transports: ["websocket"] });
  await next(socket, "connect");
  const room = name("r");
  await ask(socket, "join", room);
  const client = await connect(t, server);
  await client.subscribe(`chat/${room}`, { qos: 2 });
  await api(server, "POST", "/v1/messages", { channel: `chat/${room}`, data: 1 });
  assert.ok((await client.message()).qos > 0, "REST");
  await ask(socket, "to-room", room, "say", 1);
  assert.ok((await client.message()).qos > 0, "Socket.IO");
  await api(server, "POST", "/v1/messages", { channel: `chat/${room}`, data: 1, volatile: true });
  assert.equal((await client.message()).qos, 0);
});

rule("a restart in order: sessions, what waits in them, retained messages and wills go on", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "trunkline-mqtt-restart-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const settings = { stateFile: join(folder, "state") };
  let server = await serving(t, settings);
  const [clientId, topic, kept] = [name(), name(), name()];
  const client = await connect(t, server, { clientId, expiry: 600 });
  await client.subscribe(topic, { qos: 2 });
  await client.end();
  const other = await connect(t, server);
  for (const qos of [1, 2]) await other.publish(topic, `q${qos}`, { qos });
  await other.publish(kept, "kept", { qos: 1, retain: true });
  server.child.kill("SIGTERM");
  assert.deepEqual(await server.exited, { code: 0, signal: null }, server.log());
  server = await serving(t, settings);
  const again = await connect(t, server, { clientId, clean: false, expiry: 600 });
  assert.equal(again.connack.sessionPresent, true);
  assert.deepEqual(payloads(await again.messages(2)), ["q1", "q2"]);
  const late = await connect(t, server);
  await late.subscribe(kept, { qos: 1 });
  assert.deepEqual(payloads([await late.message()]), ["kept"]);
});
