// What a client must not send: the exact code in 5.0, the end of the connection in 3.1.1, and nobody else is harmed.
import assert from "node:assert/strict";
import { REFERENCE, both, ours, shared } from "../lib/sut.mjs";
import { bytes, connect, dial, hex, name, recent } from "../lib/mqtt.mjs";
import { CONNECT, CONNECTED, LENGTHS } from "../lib/mqtt-vectors.mjs";

const server = await shared("mqtt", { shards: 4 });

/** A packet of a first byte and a body. */
function packet(first, body) {
  const rest = bytes(body);
  assert.ok(rest.length < 128);
  return Buffer.concat([bytes(first), Buffer.of(rest.length), rest]);
}

for (const [what, first, body, code, old, differs] of CONNECTED) {
  (differs ? ours : recent)(`5.0: ${what}: ${code.toString(16)}`, async (t) => {
    const client = await connect(t, server);
    client.send(packet(first, body));
    const got = await client.ending();
    assert.equal(got?.toString(16), code.toString(16), hex(client.received));
  });
  if (old === undefined) continue;
  (differs ? ours : recent)(`3.1.1: ${what}: closed without a word`, async (t) => {
    const client = await connect(t, server, { version: 4 });
    client.send(packet(first, old === "=" ? body : old));
    await client.gone();
    assert.deepEqual(client.inbox, []);
  });
}

for (const [what, stream, code] of LENGTHS) {
  ours(`${what}: ${code}`, async (t) => {
    const client = await connect(t, server);
    client.send(stream);
    assert.equal(await client.ending(), code === "closed" ? undefined : code);
  });
}

for (const [what, body, code, differs] of CONNECT) {
  (differs ? ours : recent)(`CONNECT: ${what}: ${code.toString(16)}`, async (t) => {
    const client = await dial(t, server);
    client.send(packet("10", body));
    await client.gone();
    assert.equal(client.received[0], 0x20, hex(client.received));
    assert.equal(client.received[3].toString(16), code.toString(16));
    if (!REFERENCE) assert.equal(client.received[2], 0, "no session present with a refusal");
  });
}

both("what a client may send although it looks odd", async (t) => {
  for (const [first, body] of [
    ["30", "00 01 74 05 26 00 00 00 00"], // a user property with empty name and value
    ["30", "00 01 74 08 26 00 00 00 00 03 00 00"], // and an empty content type
    ["30", "00 01 74 0a 26 00 00 00 00 26 00 00 00 00"], // the same user property twice
    ["30", "00 01 74 05 02 00 00 00 00"], // expiry 0
    ["30", "00 04 ef bb bf 74 00"], // a byte order mark
    ["40", "00 01"], // an acknowledgement nobody waits for
    ["40", "00 01 00 00"], // in its long form
    ["82", "00 07 00 00 01 74 2d"], // every option
  ]) {
    const client = await connect(t, server);
    client.send(packet(first, body));
    await client.settled();
    assert.ok(!client.inbox.some((p) => p.cmd === "disconnect"), `${first} ${body}`);
  }
});

ours("Server Reference from a client is ignored", async (t) => {
  const client = await connect(t, server);
  client.send(packet("e0", "00 04 1c 00 01 61"));
  assert.equal(await client.ending(), undefined);
});

// The wrong acknowledgement for an id in flight.
for (const [what, qos, steps] of [
  ["PUBREC for QoS 1", 1, ["pubrec"]],
  ["PUBCOMP for QoS 1", 1, ["pubcomp"]],
  ["PUBACK for QoS 2", 2, ["puback"]],
  ["PUBCOMP before PUBREC", 2, ["pubcomp"]],
  ["PUBACK after PUBREC", 2, ["pubrec", "puback"]],
]) {
  ours(`${what}: 82`, async (t) => {
    const topic = name();
    const client = await connect(t, server, { manual: true });
    await client.subscribe(topic, { qos: 2 });
    await (await connect(t, server)).publish(topic, "x", { qos });
    const { messageId } = await client.message();
    for (const cmd of steps) client.send({ cmd, messageId });
    assert.equal(await client.ending(), 0x82);
  });
}

ours("PUBACK for QoS 1 twice: the second is for nobody, and does no harm", async (t) => {
  const topic = name();
  const client = await connect(t, server, { manual: true });
  await client.subscribe(topic, { qos: 1 });
  await client.publish(topic, "x", { qos: 1 });
  const { messageId } = await client.message();
  client.send({ cmd: "puback", messageId }, { cmd: "puback", messageId });
  await client.settled();
});

both("half of the table's faults beside a working connection: it does not notice", async (t) => {
  const topic = name();
  const client = await connect(t, server, { version: 4 });
  await client.subscribe(topic, { qos: 1 });
  for (const [i, [, first, body]] of CONNECTED.filter((_, n) => n % 2 === 0).entries()) {
    const bad = await connect(t, server);
    bad.send(packet(first, body));
    bad.cut();
    await client.publish(topic, `${i}`, { qos: 1 });
    assert.equal((await client.message()).payload.toString(), `${i}`);
  }
});

ours("bytes that are no protocol of the public port end the connection", async (t) => {
  for (const first of ["00", "ff", "20 02 00 00", "f0 00"]) {
    const client = await dial(t, server);
    client.send(first);
    await client.gone();
    assert.notEqual(client.received[0], 0x20);
  }
});
