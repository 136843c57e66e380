// One channel, any protocol: what goes between MQTT, Socket.IO clients and REST, and in which form.
import assert from "node:assert/strict";
import { REFERENCE, ours, shared } from "../lib/sut.mjs";
import { ask, collect, next, open } from "../lib/clients.mjs";
import { connect, exactly, name, payloads } from "../lib/mqtt.mjs";
import { api } from "../lib/rest.mjs";

const server = REFERENCE ? {} : await shared("mqtt", { shards: 4 });

/** A member of a room of `/chat`, and the room's channel. */
async function member(t) {
  const socket = open(t, server, "/chat", { transports: ["websocket"] });
  await next(socket, "connect");
  const room = name("r");
  assert.deepEqual(await ask(socket, "join", room), ["ok"]);
  return { socket, room, channel: `chat/${room}` };
}
/** Resolves when `hits` has so many entries; a round trip at a time. */
async function arrived(socket, hits, count) {
  const deadline = Date.now() + 8_000;
  while (hits.length < count && Date.now() < deadline) await ask(socket, "message-with-ack");
}
const emit = (socket, room, event, ...args) => ask(socket, "to-room", room, event, ...args);
const event = (name_) => ({ properties: { userProperties: { event: name_ } } });

// MQTT -> Socket.IO: [payload, the argument it becomes].
const TO_SOCKETIO = [
  ['{"a":[1,true,null]}', { a: [1, true, null] }],
  ["12.5", 12.5],
  ['"text"', "text"],
  ["null", null],
  ["plain text ü", "plain text ü"],
  ["{not json", "{not json"],
  ["", ""],
  [Buffer.from([0xff, 0x00]), Buffer.from([0xff, 0x00])],
];

for (const version of [4, 5]) {
  for (const [payload, argument] of TO_SOCKETIO) {
    ours(`MQTT ${version} -> Socket.IO: ${JSON.stringify(payload.toString("latin1"))} is one argument of \`message\``, async (t) => {
      const { socket, channel } = await member(t);
      const hit = next(socket, "message");
      const client = await connect(t, server, { version });
      await client.publish(channel, payload, { qos: 1 });
      assert.deepEqual(await hit, [argument]);
    });
  }
}

for (const qos of [0, 1, 2]) {
  ours(`MQTT 5.0 QoS ${qos} -> Socket.IO: the user property \`event\` names the event, once each`, async (t) => {
    const { socket, channel } = await member(t);
    const hits = collect(socket, "say");
    const done = next(socket, "done");
    const client = await connect(t, server);
    await client.publish(channel, '{"n":1}', { qos, ...event("say") });
    await client.publish(channel, '{"n":2}', { qos, ...event("say") });
    await client.publish(channel, "0", { qos, ...event("done") });
    await done;
    assert.deepEqual(hits, [[{ n: 1 }], [{ n: 2 }]]);
  });
}

// Socket.IO -> MQTT: [arguments, the payload they become].
const JSON_ = (value) => Buffer.from(JSON.stringify(value));
const TO_MQTT = [
  [[{ a: 1 }], JSON_({ a: 1 })],
  [["text"], JSON_("text")],
  [[7], JSON_(7)],
  [[null], JSON_(null)],
  [[1, "two", [3]], JSON_([1, "two", [3]])],
  [[Buffer.from([0, 255, 1])], Buffer.from([0, 255, 1])],
];

for (const [args, payload] of TO_MQTT) {
  ours(`Socket.IO -> MQTT: ${JSON.stringify(args)}`, async (t) => {
    const { socket, room, channel } = await member(t);
    const clients = [await connect(t, server), await connect(t, server, { version: 4 })];
    for (const client of clients) await client.subscribe(channel, { qos: 1 });
    await emit(socket, room, "say", ...args);
    for (const client of clients) {
      const message = await client.message();
      assert.equal(message.topic, channel);
      assert.equal(message.payload.toString("latin1"), payload.toString("latin1"));
      if (client.version === 5) assert.equal(message.properties.userProperties.event, "say");
    }
  });
}

ours("no arguments at all reach MQTT as a message, too", async (t) => {
  const { socket, room, channel } = await member(t);
  const client = await connect(t, server);
  await client.subscribe(channel, { qos: 1 });
  await emit(socket, room, "ping");
  assert.equal((await client.message()).properties.userProperties.event, "ping");
});

ours("MQTT filters see rooms: chat/+, chat/#; not the other way about", async (t) => {
  const { socket, room, channel } = await member(t);
  const client = await connect(t, server);
  await client.subscribe("chat/#", { qos: 1 });
  await emit(socket, room, "say", 1);
  assert.equal((await client.take((p) => p.cmd === "publish" && p.topic === channel)).payload.toString(), "1");
});

ours("the namespace's own channel: to all of /chat, not to its rooms again", async (t) => {
  const { socket } = await member(t);
  const [client, e] = [await connect(t, server), name("e")];
  await client.subscribe(["chat", "main"], { qos: 1 });
  const hits = collect(socket, e);
  await client.publish("chat", "1", { qos: 1, ...event(e) });
  await arrived(socket, hits, 1);
  await ask(socket, "all", e, 2);
  await arrived(socket, hits, 2);
  assert.deepEqual(hits, [[1], [2]]);
  assert.deepEqual(payloads(await client.messages(2)), ["1", "2"]);
});

ours("rooms with + # and % in their names are percent-encoded in their channel", async (t) => {
  const { socket } = await member(t);
  const client = await connect(t, server);
  const word = name();
  await client.subscribe("chat/#", { qos: 1 });
  for (const [room, level] of [[`${word}+`, `${word}%2B`], [`${word}#`, `${word}%23`], [`${word}%`, `${word}%25`]]) {
    await ask(socket, "join", room);
    await emit(socket, room, "say", 1);
    assert.ok(await client.take((p) => p.cmd === "publish" && p.topic === `chat/${level}`));
  }
});

ours("a Socket.IO sender is left out, MQTT subscribers of the room are not", async (t) => {
  const [a, b] = [await member(t), await member(t)];
  await ask(b.socket, "join", a.room);
  const hits = [a, b].map(({ socket }) => collect(socket, "say"));
  const client = await connect(t, server);
  await client.subscribe(a.channel, { qos: 2 });
  await emit(a.socket, a.room, "say", "x");
  assert.equal((await client.message()).payload.toString(), '"x"');
  await arrived(b.socket, hits[1], 1);
  await ask(a.socket, "message-with-ack");
  assert.deepEqual(hits, [[], [["x"]]]);
});

ours("REST -> MQTT: data, text, args, bytes; the answer counts the sessions", async (t) => {
  const { socket, channel } = await member(t);
  const clients = [await connect(t, server), await connect(t, server, { version: 4 })];
  for (const client of clients) await client.subscribe(channel, { qos: 1 });
  const hits = collect(socket, "say");
  for (const [body, payload] of [
    [{ data: { a: "ü" } }, Buffer.from('{"a":"ü"}')],
    [{ args: [1, "two"] }, Buffer.from('[1,"two"]')],
    [{ data_base64: "/wA=" }, Buffer.from([255, 0])],
  ]) {
    const answer = await api(server, "POST", "/v1/messages", { channel, event: "say", ...body });
    assert.equal(answer.status, 200, answer.text);
    const { delivered, queued } = answer.json.results[0];
    assert.equal(delivered + queued, 3);
    for (const client of clients) {
      const message = await client.message();
      assert.equal(message.payload.toString("latin1"), payload.toString("latin1"));
      if (client.version === 5) assert.equal(message.properties.userProperties.event, "say");
    }
  }
  await arrived(socket, hits, 3);
  assert.deepEqual(hits, [[{ a: "ü" }], [1, "two"], [Buffer.from([255, 0])]]);
});

ours("nobody but the back end publishes to a session or a user: MQTT gets 87", async (t) => {
  const { socket } = await member(t);
  const hits = collect(socket, "message");
  const client = await connect(t, server);
  for (const channel of [`$client/${socket.id}`, "$user/ann"]) assert.equal((await client.publish(channel, "x", { qos: 1 })).reasonCode, 0x87);
  await ask(socket, "message-with-ack");
  assert.deepEqual(hits, []);
});

ours("RETAIN on a room's channel: kept for MQTT subscribers, live for the room", async (t) => {
  const { socket, channel } = await member(t);
  const hit = next(socket, "message");
  const client = await connect(t, server);
  await client.publish(channel, '"kept"', { qos: 1, retain: true });
  assert.deepEqual(await hit, ["kept"]);
  const late = await connect(t, server);
  await late.subscribe(channel, { qos: 1 });
  const message = await late.message();
  assert.deepEqual([message.payload.toString(), message.retain], ['"kept"', true]);
});

ours("a will reaches the room", async (t) => {
  const { socket, channel } = await member(t);
  const hit = next(socket, "message");
  (await connect(t, server, { will: { topic: channel, payload: "gone", qos: 1, retain: false } })).cut();
  assert.deepEqual(await hit, ["gone"]);
});

ours("order between protocols: one publisher, every subscriber sees the same", async (t) => {
  const { socket, channel } = await member(t);
  const client = await connect(t, server);
  const hits = collect(socket, "message");
  const watch = await connect(t, server, { version: 4 });
  await watch.subscribe(channel, { qos: 1 });
  for (let i = 0; i < 100; i++) await client.publish(channel, `${i}`, { qos: (i % 2) + 1 });
  const numbers = Array.from({ length: 100 }, (_, i) => i);
  assert.deepEqual(payloads(await exactly(watch, 100, client)).map(Number), numbers);
  await arrived(socket, hits, 100);
  assert.deepEqual(hits.flat(), numbers);
});

ours("HTTP polling, MQTT over TCP and MQTT over WebSocket side by side on one port", async (t) => {
  const polling = open(t, server, "/chat", { transports: ["polling"] });
  await next(polling, "connect");
  const room = name("p");
  await ask(polling, "join", room);
  const hit = next(polling, "message");
  const [tcp, ws] = [await connect(t, server), await connect(t, server, { websocket: true })];
  await ws.subscribe(`chat/${room}`, { qos: 1 });
  await tcp.publish(`chat/${room}`, '"both"', { qos: 1 });
  assert.deepEqual(await hit, ["both"]);
  assert.equal((await ws.message()).payload.toString(), '"both"');
});

ours("REST -> MQTT: what is published on several channels comes once, on a topic that the client is subscribed to", async (t) => {
  const root = name("several");
  const [a, b, c] = ["a", "b", "c"].map((leaf) => `${root}/${leaf}`);
  const publisher = await connect(t, server);
  const clients = await Promise.all([[a], [b], [`${root}/+`], [c, b], [`$share/g/${c}`]].map(async (topics) => {
    const client = await connect(t, server);
    await client.subscribe(topics.map((topic) => ({ topic, qos: 1 })));
    return client;
  }));
  const { results } = (await api(server, "POST", "/v1/messages", { channels: [a, b, c], data: "hi" })).json;
  assert.equal(results[0].delivered, clients.length);
  const topics = await Promise.all(clients.map(async (client) => (await exactly(client, 1, publisher)).map((m) => m.topic)));
  assert.deepEqual(topics, [[a], [b], [a], [b], [c]]);
});
