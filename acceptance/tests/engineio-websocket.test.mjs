// WebSocket transport by hand, and upgrades by hand.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { PATIENCE_MS, Polling, Ws, arrived, request, tcp, within } from "../lib/raw.mjs";

const server = await shared("echo", { maxPayloadBytes: 1_000_000, upgradeTimeoutMs: 500 });
const PATH = "/engine.io/";
const open = (query) => Ws.open(server, query, { path: PATH });
const poll = () => Polling.open(server, { path: PATH });
const upgrade = (s) => open(`EIO=4&transport=websocket&sid=${s.sid}`);

both("handshake: no upgrades", async () => {
  const ws = await open();
  const { sid, ...rest } = JSON.parse((await ws.next()).slice(1));
  assert.deepEqual(rest, { upgrades: [], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000 });
  assert.ok(sid.length >= 20);
  ws.end();
});

both("text and binary frames come back as they were", async () => {
  const ws = await open();
  await ws.next();
  ws.send("4é\u{1f600}");
  assert.equal(await ws.next(), "4é\u{1f600}");
  for (const bytes of [Buffer.from([1, 2, 3]), Buffer.alloc(0), Buffer.alloc(70_000, 7), Buffer.from("4text in a binary frame")]) {
    ws.send(bytes);
    assert.deepEqual(await ws.next(), bytes);
  }
  ws.end();
});

both("a message in fragments with a control frame between them", async () => {
  const ws = await open();
  await ws.next();
  const pong = new Promise((r) => ws.socket.once("pong", r));
  ws.socket.send("4frag", { fin: false });
  ws.socket.ping("between");
  ws.socket.send("ment", { fin: true });
  assert.equal(await ws.next(), "4fragment");
  assert.equal((await pong).toString(), "between");
  ws.end();
});

both("a message of maxPayload passes; a larger one closes with 1009", async () => {
  const ws = await open();
  await ws.next();
  ws.send("4" + "x".repeat(999_999));
  assert.equal((await ws.next()).length, 1_000_000);
  ws.send("4" + "x".repeat(1_000_001));
  assert.equal((await ws.close_within()).code, 1009);
});

both("a frame header that announces 1 GiB is refused at once, before its payload", async () => {
  const socket = tcp(server);
  socket.write(`GET ${PATH}?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`);
  await socket.seen("maxPayload");
  socket.write(Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4]));
  // Close frame 1009 = 88 02 03 f1, possibly with a reason, or the end of the connection.
  await within(socket.ended, PATIENCE_MS, "end");
});

for (const [name, data] of [["a bad packet type", "abc"], ["an empty text frame", ""], ["a ping of the client", "2"]]) {
  both(`${name} closes`, async () => {
    const ws = await open();
    await ws.next();
    ws.send(data);
    await ws.close_within();
  });
}

ours("packet 1 closes at once", async () => {
  const ws = await open();
  await ws.next();
  ws.send("1");
  await ws.close_within();
});

both("packets 6, 0 and 5 on an established websocket are ignored", async () => {
  const ws = await open();
  await ws.next();
  for (const p of ["6", "0", "5"]) ws.send(p);
  ws.send("4still here");
  assert.equal(await ws.next(), "4still here");
  ws.end();
});

both("websocket protocol violations close: unmasked frame, reserved bit, bad opcode, bad UTF-8, fragmented control frame", async () => {
  const frames = {
    unmasked: [0x81, 0x02, 0x34, 0x78],
    reserved: [0xc1, 0x82, 0, 0, 0, 0, 0x34, 0x78],
    opcode: [0x83, 0x82, 0, 0, 0, 0, 0x34, 0x78],
    utf8: [0x81, 0x82, 0, 0, 0, 0, 0x34, 0xff],
    control: [0x09, 0x80, 0, 0, 0, 0],
    continuation: [0x80, 0x81, 0, 0, 0, 0, 0x34],
  };
  for (const [name, bytes] of Object.entries(frames)) {
    const socket = tcp(server);
    socket.write(`GET ${PATH}?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`);
    await socket.seen("maxPayload");
    socket.write(Buffer.from(bytes));
    await within(socket.ended, PATIENCE_MS, `end after ${name}`);
  }
});

both("the answer to the key is the one of RFC 6455", async () => {
  const socket = tcp(server);
  socket.write(`GET ${PATH}?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`);
  const text = await socket.seen("maxPayload");
  assert.match(text, /^HTTP\/1\.1 101 /);
  assert.match(text, /sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/i);
  socket.destroy();
});

for (const [name, query, status, code] of [
  ["an unknown transport", "EIO=4&transport=abc", 400, 0],
  ["no transport", "EIO=4", 400, 0],
  ["an unknown sid", "EIO=4&transport=websocket&sid=abcdefghijklmnopqrst", 400, 1],
]) {
  both(`websocket with ${name} is refused before 101`, async () => {
    await assert.rejects(open(query), (e) => e.status === status);
  });
  ours(`websocket with ${name}: the body is the JSON of code ${code}`, async () => {
    await assert.rejects(open(query), (e) => JSON.parse(e.body).code === code && /json/.test(e.headers["content-type"]));
  });
}
ours("websocket with an unsupported EIO is refused before 101", async () => {
  for (const eio of ["EIO=3&", "EIO=abc&", ""]) await assert.rejects(open(`${eio}transport=websocket`), (e) => e.status === 400 && JSON.parse(e.body).code === 5);
});

both("upgrade: probe, noop for the waiting GET, then only the websocket; nothing lost between", async () => {
  const s = await poll();
  const waiting = s.get();
  const ws = await upgrade(s);
  ws.send("2probe");
  assert.equal(await ws.next(), "3probe");
  assert.equal((await waiting).body, "6");
  // POSTs are valid until 5; their echo stays queued and comes over the websocket.
  assert.equal((await s.post("4between")).status, 200);
  ws.send("5");
  assert.equal(await ws.next(), "4between");
  ws.send("4after");
  assert.equal(await ws.next(), "4after");
  for (const res of [await s.get(), await s.post("4x")]) assert.deepEqual([res.status, res.json.code], [400, 3]);
  ws.send("4alive");
  assert.equal(await ws.next(), "4alive");
  ws.end();
});

both("upgrade: a GET that comes after the probe is answered 6 too", async () => {
  const s = await poll();
  const ws = await upgrade(s);
  ws.send("2probe");
  assert.equal(await ws.next(), "3probe");
  assert.equal((await s.get()).body, "6");
  ws.send("5");
  ws.send("4x");
  assert.equal(await ws.next(), "4x");
  ws.end();
});

both("upgrade: another packet than the probe closes that websocket, polling goes on", async () => {
  const s = await poll();
  const ws = await upgrade(s);
  ws.send("4early");
  await ws.close_within();
  await s.post("4x");
  assert.ok((await s.until((p) => p === "4x")).includes("4x"));
});

both("upgrade: no 5 in time closes that websocket, polling goes on", async () => {
  const s = await poll();
  const began = Date.now();
  const ws = await upgrade(s);
  ws.send("2probe");
  assert.equal(await ws.next(), "3probe");
  await ws.close_within();
  assert.ok(Date.now() - began > 300);
  await s.post("4x");
  await s.until((p) => p === "4x");
});

both("upgrade: the websocket fails by itself, polling goes on", async () => {
  const s = await poll();
  const ws = await upgrade(s);
  ws.send("2probe");
  await ws.next();
  ws.end();
  await s.post("4x");
  await s.until((p) => p === "4x");
});

both("upgrade: a second websocket of an upgraded session is closed, the first goes on", async () => {
  const s = await poll();
  const ws = await upgrade(s);
  ws.send("2probe");
  await ws.next();
  ws.send("5");
  ws.send("4x");
  await ws.next();
  const second = new Ws(`${server.ws}${PATH}?EIO=4&transport=websocket&sid=${s.sid}`);
  await second.close_within();
  ws.send("4y");
  assert.equal(await ws.next(), "4y");
  ws.end();
});

both("websocket: the session ends with the connection", async () => {
  const ws = await open();
  const { sid } = JSON.parse((await ws.next()).slice(1));
  ws.socket.close();
  await ws.closed;
  await arrived();
  const res = await request(server, "GET", `${PATH}?EIO=4&transport=polling&sid=${sid}`);
  assert.equal(res.json.code, 1);
});
