// MQTT over TLS, over TCP and WebSocket, on the port that serves HTTPS.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import tls from "node:tls";
import mqtt from "mqtt";
import { REFERENCE, both, ours, shared } from "../lib/sut.mjs";
import { mosquittoSub, run } from "../lib/mqtt-clients.mjs";
import { bytes, connect, connectPacket, dial, hex, name } from "../lib/mqtt.mjs";
import { PATIENCE_MS, within } from "../lib/raw.mjs";

const folder = mkdtempSync(join(tmpdir(), "trunkline-mqtt-tls-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const [cert, key] = ["cert.pem", "key.pem"].map((file) => join(folder, file));
execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
  "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert], { stdio: "pipe" });
const server = await shared("mqtt", { tls: { cert, key }, ...(!REFERENCE && { mqttListen: "127.0.0.1:0", mqttTlsListen: "127.0.0.1:0" }) });
/** The server at another of its ports. */
const at = (address) => ({ ...server, host: address.split(":")[0], port: Number(address.split(":")[1]) });

for (const protocolVersion of [4, 5]) {
  for (const url of [`mqtts://${server.host}:${server.port}`, server.mqttWs]) {
    both(`mqtt.js ${protocolVersion}, ${url.split(":")[0]}: every QoS, a large payload`, async (t) => {
      const client = await mqtt.connectAsync(url, { protocolVersion, clientId: name(), reconnectPeriod: 0, rejectUnauthorized: false });
      t.after(() => client.end(true));
      const topic = name();
      await client.subscribeAsync(topic, { qos: 2 });
      const sizes = [];
      const all = new Promise((resolve) => client.on("message", (_topic, payload) => sizes.push(payload.length) === 4 && resolve()));
      for (const [qos, size] of [[0, 1], [1, 10], [2, 100], [1, 100_000]]) await client.publishAsync(topic, Buffer.alloc(size), { qos });
      await within(all, PATIENCE_MS, "messages");
      assert.deepEqual(sizes, [1, 10, 100, 100_000]);
    });
  }
}

for (const version of [3, 4, 5]) {
  both(`mosquitto_pub and mosquitto_sub over TLS, -V ${version}`, async (t) => {
    const topic = name();
    const { next } = await mosquittoSub(t, server, version, ["--cafile", cert, "-t", topic, "-q", "2"]);
    const { code, errors } = await within(run("mosquitto_pub", server, version, ["--cafile", cert, "-t", topic, "-m", "safe", "-q", "2"]).done, PATIENCE_MS);
    assert.equal(code, 0, errors);
    assert.equal((await next()).payload, "safe");
  });
}

both("CONNECT with more behind it in one TLS record", async (t) => {
  const socket = tls.connect({ host: server.host, port: server.port, rejectUnauthorized: false });
  t.after(() => socket.destroy());
  const expected = ["20 02 00 00", "90 03 00 01 00", "d0 00"].map((packet) => bytes(packet));
  let received = Buffer.alloc(0);
  const all = new Promise((resolve) => socket.on("data", (d) => {
    received = Buffer.concat([received, d]);
    if (received.length >= Buffer.concat(expected).length) resolve();
  }));
  socket.write(Buffer.concat([connectPacket(4), { cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "t", qos: 0 }] }, { cmd: "pingreq" }].map((p) => bytes(p, 4))));
  await within(all, PATIENCE_MS);
  assert.ok(received.subarray(0, 4).equals(expected[0]), hex(received));
  for (const packet of expected) assert.ok(received.includes(packet), hex(received));
});

ours("MQTT without TLS on the TLS port is no answer", async (t) => {
  const client = await dial(t, server);
  client.send(connectPacket(4));
  await client.gone();
  assert.notEqual(client.received[0], 0x20);
});

ours("ports of MQTT's own, without and with TLS, are the same broker", async (t) => {
  const topic = name();
  const plain = await connect(t, at(server.mqtt));
  await plain.subscribe(topic, { qos: 1 });
  const { code, errors } = await within(run("mosquitto_pub", at(server.mqttTls), 5, ["--cafile", cert, "-t", topic, "-m", "tls", "-q", "1"]).done, PATIENCE_MS);
  assert.equal(code, 0, errors);
  assert.equal((await plain.message()).payload.toString(), "tls");
  assert.equal((await within(run("mosquitto_pub", at(server.mqtt), 4, ["-t", topic, "-m", "plain", "-q", "1"]).done, PATIENCE_MS)).code, 0);
  assert.equal((await plain.message()).payload.toString(), "plain");
});

ours("ports of MQTT's own speak nothing else", async (t) => {
  for (const [address, bytes_] of [[server.mqtt, Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")], [server.mqttTls, bytes(connectPacket(4), 4)]]) {
    const client = await dial(t, at(address));
    client.send(bytes_);
    await client.gone();
    assert.notEqual(client.received[0], 0x20);
    assert.ok(!client.received.toString("latin1").startsWith("HTTP"));
  }
});

// Certificates of clients: an authority, and what it says of `bob`.
const openssl = (...args) => execFileSync("openssl", args, { stdio: "pipe" });
const file = (name) => join(folder, name);
const EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
openssl("req", "-x509", ...EC, "-days", "2", "-subj", "/CN=devices", "-keyout", file("ca.key"), "-out", file("ca.pem"));
openssl("req", ...EC, "-subj", "/O=plant/CN=bob", "-keyout", file("bob.key"), "-out", file("bob.csr"));
// Without an extension it would be of version 1 of X.509, which is not taken.
writeFileSync(file("v3"), "basicConstraints=CA:FALSE\n");
openssl("x509", "-req", "-extfile", file("v3"), "-in", file("bob.csr"), "-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-CAcreateserial", "-days", "2", "-out", file("bob.pem"));
openssl("req", "-x509", ...EC, "-days", "2", "-subj", "/CN=bob", "-keyout", file("eve.key"), "-out", file("eve.pem"));
const guarded = REFERENCE ? undefined : await shared("mqtt", {
  tls: { cert, key },
  mqttTlsListen: "127.0.0.1:0",
  mqttClientCa: file("ca.pem"),
  mqttClientUser: "common_name",
  mqttAcl: [{ filter: "of/%u/#", allow: ["publish", "subscribe"] }],
  mqttAclDefault: "deny",
});
const card = (name) => ["--cert", file(`${name}.pem`), "--key", file(`${name}.key`)];
const door = () => ({ ...guarded, host: guarded.mqttTls.split(":")[0], port: Number(guarded.mqttTls.split(":")[1]) });

for (const version of [4, 5]) {
  ours(`mosquitto's clients prove by a certificate who they are, -V ${version}`, async (t) => {
    const say = (topic, ...more) => within(run("mosquitto_pub", door(), version, ["--cafile", cert, "-t", topic, "-m", "x", "-q", "1", ...more]).done, PATIENCE_MS);
    const { next } = await mosquittoSub(t, door(), version, ["--cafile", cert, ...card("bob"), "-t", "of/bob/#", "-q", "1"]);
    assert.equal((await say("of/bob/1", ...card("bob"))).code, 0);
    assert.equal((await next()).payload, "x");
    assert.notEqual((await say("of/bob/1")).code, 0, "without one");
    assert.notEqual((await say("of/bob/1", ...card("eve"))).code, 0, "of nobody's");
  });
}

ours("mqtt.js proves by a certificate who it is", async (t) => {
  const [certificate, secret] = [readFileSync(file("bob.pem")), readFileSync(file("bob.key"))];
  const options = { protocolVersion: 5, clientId: name(), reconnectPeriod: 0, rejectUnauthorized: false, cert: certificate, key: secret, username: "eve" };
  const client = await mqtt.connectAsync(`mqtts://${guarded.mqttTls}`, options);
  t.after(() => client.end(true));
  const granted = await client.subscribeAsync({ "of/bob/a": { qos: 1 }, "of/bob/#": { qos: 0 } });
  assert.deepEqual(granted.map(({ qos }) => qos), [1, 0]);
  await assert.rejects(client.subscribeAsync("of/eve/a"), "the certificate decides");
});
