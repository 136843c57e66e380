// MQTT over WebSocket: subprotocol, frames that are not packets, and mqtt.js on both transports.
import assert from "node:assert/strict";
import mqtt from "mqtt";
import WebSocket from "ws";
import { REFERENCE, both, ours, shared } from "../lib/sut.mjs";
import { bytes, connect, connectPacket, early, hex, name, payloads, recent } from "../lib/mqtt.mjs";
import { PATIENCE_MS, request, within } from "../lib/raw.mjs";

const server = await shared("mqtt", { shards: 4 });
const websocket = true;

/** A websocket whose upgrade was answered: the socket, or the status of the refusal. */
function upgrade(t, protocols, url = server.mqttWs) {
  const socket = new WebSocket(url, protocols, { perMessageDeflate: false });
  t.after(() => socket.terminate());
  return within(new Promise((resolve, reject) => {
    socket.once("open", () => resolve(socket));
    socket.once("unexpected-response", (_req, res) => (res.resume(), resolve(res.statusCode)));
    socket.once("error", reject);
  }), 5_000);
}
const closed = (socket) => within(new Promise((resolve) => socket.once("close", resolve)), PATIENCE_MS, "close");

early("the subprotocol mqtt is returned, also among others", async (t) => {
  for (const protocols of [["mqtt"], ["x", "mqtt"]]) {
    const socket = await upgrade(t, protocols);
    assert.equal(socket.protocol, "mqtt");
  }
});

both("old clients offer mqttv3.1", async (t) => {
  assert.equal((await upgrade(t, ["mqttv3.1"])).protocol, "mqttv3.1");
});

for (const [what, protocols] of [["none", []], ["another", ["wamp"]]]) {
  ours(`subprotocol ${what}: 400`, async (t) => {
    assert.equal(await upgrade(t, protocols), 400);
  });
}

ours("the path without an upgrade is no page, other paths are not MQTT", async (t) => {
  assert.ok((await request(server, "GET", "/mqtt")).status >= 400);
  assert.ok((await upgrade(t, ["mqtt"], `${server.ws}/other`)) >= 400);
});

for (const version of [3, 4, 5]) {
  both(`level ${version}: everything in one frame, and a frame per byte`, async (t) => {
    for (const frames of [undefined, (data) => [...data].map((byte) => Buffer.of(byte))]) {
      const client = await connect(t, server, { version, websocket, frames });
      const topic = name();
      client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 2 }] }, { cmd: "publish", topic, payload: "one", qos: 1, messageId: 2 }, { cmd: "publish", topic, payload: "two", qos: 2, messageId: 3 }, { cmd: "pubrel", messageId: 3 }, { cmd: "pingreq" });
      await client.of("pingresp");
      assert.deepEqual(payloads(await client.messages(2)), ["one", "two"]);
      assert.deepEqual([(await client.of("puback")).messageId, (await client.of("pubcomp")).messageId], [2, 3]);
    }
  });
}

both("packets cut at every place, each part with the end of the one before", async (t) => {
  const whole = bytes({ cmd: "publish", topic: "cut/here", payload: "0123456789", qos: 1, messageId: 7 }, 5);
  for (let at = 1; at < whole.length; at++) {
    const client = await connect(t, server, { websocket, frames: (data) => data.length > 2 * whole.length - 1 ? [data.subarray(0, at), data.subarray(at, at + whole.length), data.subarray(at + whole.length)] : [data] });
    client.send(whole, whole);
    for (let i = 0; i < 2; i++) assert.equal((await client.of("puback")).messageId, 7);
    client.cut();
  }
});

early("a fragmented message of WebSocket, empty frames, a ping between", async (t) => {
  const client = await connect(t, server, { websocket });
  const topic = name();
  await client.subscribe(topic);
  const packet = bytes({ cmd: "publish", topic, payload: "parts", qos: 0 }, 5);
  client.socket.send(packet.subarray(0, 3), { fin: false });
  client.socket.ping();
  client.socket.send(packet.subarray(3, 6), { fin: false });
  client.socket.send(packet.subarray(6), { fin: true });
  assert.equal((await client.message()).payload.toString(), "parts");
  client.socket.send(Buffer.alloc(0));
  await client.settled();
});

ours("a text frame ends the connection and publishes the will", async (t) => {
  const topic = name();
  const watch = await connect(t, server);
  await watch.subscribe(topic);
  const client = await connect(t, server, { websocket, will: { topic, payload: "will", qos: 0, retain: false } });
  client.socket.send("text");
  await client.gone();
  await watch.message();
});

ours("a text frame before CONNECT ends the connection", async (t) => {
  const socket = await upgrade(t, ["mqtt"]);
  socket.send("hello");
  await closed(socket);
});

early("the end of the WebSocket without DISCONNECT publishes the will", async (t) => {
  for (const end of [(s) => s.terminate(), (s) => s.close(1000)]) {
    const topic = name();
    const watch = await connect(t, server);
    await watch.subscribe(topic);
    const client = await connect(t, server, { websocket, will: { topic, payload: "will", qos: 0, retain: false } });
    end(client.socket);
    assert.equal((await watch.message()).payload.toString(), "will");
  }
});

ours("reasons are told over WebSocket too", async (t) => {
  const client = await connect(t, server, { websocket });
  client.send(connectPacket(5));
  assert.equal(await client.ending(), 0x82);
});

both("what the server sends are binary frames", async (t) => {
  const socket = await upgrade(t, ["mqtt"]);
  const kinds = [];
  const first = new Promise((resolve) => socket.on("message", (data, binary) => (kinds.push(binary), resolve(data))));
  socket.send(bytes(connectPacket(4), 4));
  assert.equal(hex(await within(first, PATIENCE_MS)), "20 02 00 00");
  assert.deepEqual(kinds, [true]);
});

both("TCP and WebSocket are one broker; a session goes from one to the other", async (t) => {
  const [topic, clientId] = [name(), name()];
  const first = await connect(t, server, { websocket, clientId, expiry: 600 });
  await first.subscribe(topic, { qos: 1 });
  await first.end();
  const other = await connect(t, server);
  await other.publish(topic, "x", { qos: 1 });
  const second = await connect(t, server, { clientId, clean: false, expiry: 600 });
  assert.deepEqual(payloads([await second.message()]), ["x"]);
  const third = await connect(t, server, { websocket, clientId, clean: false, expiry: 600 });
  await second.gone();
  await other.publish(topic, "y", { qos: 1 });
  assert.deepEqual(payloads([await third.message()]), ["y"]);
});

recent("a payload of a megabyte over WebSocket", async (t) => {
  const topic = name();
  const client = await connect(t, server, { websocket });
  await client.subscribe(topic, { qos: 1 });
  const payload = Buffer.alloc(1_000_000, 7);
  await client.publish(topic, payload, { qos: 1 });
  assert.equal(Buffer.compare((await client.message()).payload, payload), 0);
});

for (const protocolVersion of [4, 5]) {
  both(`mqtt.js, level ${protocolVersion}: over WebSocket and TCP`, async (t) => {
    for (const url of [server.mqttWs, `mqtt://${server.host}:${server.port}`]) {
      const client = await mqtt.connectAsync(url, { protocolVersion, clientId: name(), reconnectPeriod: 0 });
      t.after(() => client.end(true));
      const topic = name();
      await client.subscribeAsync(topic, { qos: 2 });
      const messages = [];
      const all = new Promise((resolve) => client.on("message", (at, payload) => messages.push([at, payload.toString()]) === 3 && resolve()));
      for (const qos of [0, 1, 2]) await client.publishAsync(topic, `q${qos}`, { qos });
      await within(all, PATIENCE_MS);
      assert.deepEqual(messages, [0, 1, 2].map((qos) => [topic, `q${qos}`]));
      await client.endAsync();
    }
  });

  both(`mqtt.js, level ${protocolVersion}: QoS 2 through lost connections, nothing lost, nothing twice`, async (t) => {
    const topic = name();
    const session = { protocolVersion, clean: false, reconnectPeriod: 20, ...(protocolVersion === 5 && { properties: { sessionExpiryInterval: 600 } }) };
    const url = REFERENCE ? `mqtt://${server.host}:${server.port}` : server.mqttWs;
    const [a, b] = [await mqtt.connectAsync(url, { ...session, clientId: name("a") }), await mqtt.connectAsync(url, { ...session, clientId: name("b") })];
    t.after(() => (a.end(true), b.end(true)));
    await b.subscribeAsync(topic, { qos: 2 });
    const N = 120;
    const seen = [];
    const all = new Promise((resolve) => b.on("message", (_topic, payload) => (seen.push(Number(payload)), new Set(seen).size === N && resolve())));
    const sent = [];
    for (let i = 0; i < N; i++) {
      sent.push(a.publishAsync(topic, `${i}`, { qos: 2 }));
      if (i % 30 === 10) a.stream.destroy();
      if (i % 30 === 20) b.stream.destroy();
      if (i % 10 === 9) await sent.at(-1);
    }
    await Promise.all(sent);
    await within(all, 20_000, "all messages");
    assert.deepEqual([...seen].sort((x, y) => x - y), Array.from({ length: N }, (_, i) => i));
  });
}
