// Bounded behaviour: a client cannot make the server hold more than its limits, and others are served meanwhile.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { both, ours, shared } from "../lib/sut.mjs";
import { PATIENCE_MS, Polling, Ws, joined, request, tcp, within } from "../lib/raw.mjs";

const MIB = 1024 * 1024;
const server = await shared("acceptance", {
  handshakeTimeoutMs: 700,
  roomsPerSessionMax: 1_000,
  namespacesPerConnectionMax: 10,
  outboxMessagesMax: 200,
  messageBytesMax: 128 * 1024,
  writeBufferBytesMax: 256 * 1024,
});
const residentBytes = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.child.pid}/status`, "utf8"))[1]) * 1024;
const UPGRADE = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/** A masked (with zeros) text frame of up to 65,535 bytes. */
function frame(text) {
  const body = Buffer.from(text);
  const head = body.length < 126 ? [0x81, 0x80 | body.length] : [0x81, 0xfe, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from(head), Buffer.alloc(4), body]);
}
async function alive() {
  const ws = await joined(server);
  ws.send('421["message-with-ack","alive"]');
  assert.equal(await ws.next(), '431["alive"]');
  ws.end();
}

ours("a websocket client that never reads is closed, the server's memory stays bounded", async () => {
  const socket = tcp(server);
  socket.write(UPGRADE);
  await socket.seen("maxPayload");
  socket.write(frame("40"));
  await socket.seen('["auth"');
  const before = residentBytes();
  socket.pause();
  const read = socket.bytesRead;
  // 80 MB; the kernel's own buffers hold a few of them.
  for (let i = 0; i < 8; i++) socket.write(frame('42["flood","drop",1000,10000]'));
  // Somebody else's round trips: the flood was handled before them.
  for (let i = 0; i < 20; i++) await alive();
  assert.ok(residentBytes() - before < 24 * MIB, `grew by ${(residentBytes() - before) / MIB} MiB`);
  socket.resume();
  await within(socket.ended, PATIENCE_MS, "end");
  assert.ok(socket.bytesRead - read < 40e6, `${socket.bytesRead - read} bytes were sent to a client that did not read`);
});

ours("a polling client that never polls is ended, the server's memory stays bounded", async () => {
  const s = await Polling.open(server);
  await s.post("40");
  await s.until((p) => p.startsWith('42["auth"'));
  const before = residentBytes();
  let status = 200;
  for (let i = 0; i < 20 && status === 200; i++) ({ status } = await s.post('42["flood","drop",1000,2000]'));
  for (let i = 0; i < 5; i++) await alive();
  assert.ok(residentBytes() - before < 24 * MIB, `grew by ${(residentBytes() - before) / MIB} MiB`);
  const res = await s.get();
  // Either the end of the session is told now, or it is gone already.
  assert.ok(res.status === 400 || res.body.split("\x1e").includes("1"), `${res.status} ${res.body.slice(0, 100)}`);
});

ours("a request head that never ends is cut at the handshake time-out, silent or one byte at a time", async () => {
  const silent = tcp(server);
  const slow = tcp(server);
  const began = Date.now();
  slow.write("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX-Pad: ");
  // One byte per interval, for ever: each byte must not start the time anew.
  const drip = setInterval(() => slow.write("a"), 50);
  await within(Promise.all([silent.ended, slow.ended]), PATIENCE_MS, "end").finally(() => clearInterval(drip));
  const took = Date.now() - began;
  assert.ok(took > 500, `${took} ms`);
});

ours("500 half-open handshakes do not keep others out, and end", async () => {
  const sockets = Array.from({ length: 500 }, () => tcp(server));
  await Promise.all(sockets.map((s) => s.ready));
  for (const s of sockets) s.write("GET /socket.io/?EIO=4&tr");
  await alive();
  await within(Promise.all(sockets.map((s) => s.ended)), PATIENCE_MS, "end of all");
});

ours("a websocket that upgrades and sends half a frame per second is not charged more than its frame", async () => {
  const before = residentBytes();
  const sockets = await Promise.all(Array.from({ length: 50 }, async () => {
    const socket = tcp(server);
    socket.write(UPGRADE);
    await socket.seen("maxPayload");
    // Announces 900,000 bytes and sends ten.
    socket.write(Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0x0d, 0xbb, 0xa0, 0, 0, 0, 0, ..."42[\"aaaaaa"].map((c) => (typeof c === "string" ? c.charCodeAt(0) : c))));
    return socket;
  }));
  await alive();
  assert.ok(residentBytes() - before < 16 * MIB, `grew by ${(residentBytes() - before) / MIB} MiB`);
  for (const s of sockets) s.destroy();
});

both("a frame header of 1 GiB ends the connection", async () => {
  const socket = tcp(server);
  socket.write(UPGRADE);
  await socket.seen("maxPayload");
  socket.write(Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0]));
  await within(socket.ended, PATIENCE_MS, "end");
  await alive();
});

both("fragments without end are bounded by maxPayload", async () => {
  const ws = await joined(server);
  const part = "x".repeat(60_000);
  ws.socket.send(`42["${part}`, { fin: false });
  const send = setInterval(() => ws.socket.readyState === 1 && ws.socket.send(part, { fin: false }), 1);
  await ws.close_within().finally(() => clearInterval(send));
  await alive();
});

both("a request head of 1 MiB is refused", async () => {
  const socket = tcp(server);
  await socket.ready;
  socket.write("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n");
  const line = `X-Pad: ${"a".repeat(1_000)}\r\n`;
  for (let i = 0; i < 1_050 && !socket.destroyed; i++) socket.write(line);
  await within(socket.ended, PATIENCE_MS, "end");
  assert.match(socket.received.toString().slice(0, 20), /^(HTTP\/1\.1 4|$)/);
  await alive();
});

both("what is no HTTP is answered 400 or cut", async () => {
  for (const text of ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "HELLO\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n".repeat(5_000) + "x\r\n\r\n"]) {
    const socket = tcp(server);
    socket.write(Buffer.from(text, "latin1"));
    await within(socket.ended, PATIENCE_MS, `end after ${JSON.stringify(text.slice(0, 20))}`);
  }
  await alive();
});

both("a body with both Content-Length and Transfer-Encoding, or two lengths, is refused", async () => {
  const s = await Polling.open(server);
  for (const heads of ["Content-Length: 2\r\nTransfer-Encoding: chunked", "Content-Length: 2\r\nContent-Length: 3", "Content-Length: -1", "Content-Length: 1x"]) {
    const socket = tcp(server);
    socket.write(`POST ${s.path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n${heads}\r\n\r\n40`);
    const text = await within(socket.ended.then(() => socket.received.toString()), PATIENCE_MS, `end after ${heads}`);
    assert.match(text, /^HTTP\/1\.1 400/, heads);
  }
});

ours("100,000 rooms asked for: the limit holds and is told, the session lives", async () => {
  const ws = await joined(server);
  let refused = 0;
  for (let i = 0; i < 100; i++) {
    ws.send(`42${i}["join",${JSON.stringify(Array.from({ length: 1_000 }, (_, j) => `room-${i}-${j}`))}]`);
    const [reply] = (await ws.until((m) => m.startsWith(`43${i}[`), 10_000)).slice(-1);
    if (JSON.parse(reply.slice(reply.indexOf("[")))[0]?.error) refused++;
  }
  assert.ok(refused >= 99, `${refused} of 100 refused`);
  ws.send('42999["rooms"]');
  const [reply] = (await ws.until((m) => m.startsWith("43999["))).slice(-1);
  assert.ok(JSON.parse(reply.slice(5))[0].length <= 1_000);
  ws.end();
});

ours("namespaces per connection are limited", async () => {
  const ws = await Ws.open(server);
  await ws.next();
  let joins = 0;
  ws.socket.on("message", (m) => /^40\/dyn-lim/.test(m) && joins++);
  for (let i = 0; i < 100; i++) ws.send(`40/dyn-lim${i},`);
  // A refusal per namespace or the end of the connection are both bounded; which one is not laid down.
  await ws.until((m) => m.startsWith("44/dyn-lim99"), 3_000).catch(() => {});
  assert.ok(joins <= 10, `${joins} joined`);
  ws.end();
  await alive();
});

ours("a room name of 100,000 bytes, an empty one and one with NUL or a leading $ are refused", async () => {
  const ws = await joined(server);
  for (const [i, name] of ["r".repeat(100_000), "", "a\u0000b", "$user/1", "$sys"].entries()) {
    ws.send(`42${i}["join",${JSON.stringify(name)}]`);
    const [reply] = (await ws.until((m) => m.startsWith(`43${i}[`))).slice(-1);
    assert.ok(JSON.parse(reply.slice(reply.indexOf("[")))[0].error, `${name.slice(0, 20)}: ${reply}`);
  }
  ws.end();
});

ours("a query of 100,000 bytes is refused", async () => {
  const res = await request(server, "GET", `/socket.io/?EIO=4&transport=polling&x=${"y".repeat(100_000)}`).catch(() => ({ status: "cut" }));
  assert.ok([400, 413, 414, 431, "cut"].includes(res.status), String(res.status));
});

ours("unanswered questions to one client are bounded, the rest is told to be missing at once", async () => {
  const ws = await joined(server);
  const round = async () => {
    for (let i = 0; i < 10_000; i++) ws.send('42["ask-me",60000,"question"]');
    ws.send('421["message-with-ack","end"]');
    const seen = await ws.until((m) => m === '431["end"]', 10_000);
    return seen.filter((m) => m.includes('"question"')).length;
  };
  // limits.pending_acks_out_max is 1,000 unless configured.
  const asked = await round();
  assert.ok(asked <= 1_000, `${asked} questions wait for an answer`);
  assert.equal((await round()) + (await round()), 0);
  ws.end();
});

both("thousands of random packets and frames close connections at most", async () => {
  // A fixed seed: a failure can be repeated.
  let seed = 20_240_611;
  const random = (n) => ((seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0), seed % n);
  const seeds = ["40", '42["message",1]', '421["message-with-ack",{"a":[]}]', '452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', "41", '43999["x"]', "40/custom,{}", "2probe", "3", "6", "\x83\xa4type\x00"];
  const mutate = (text) => {
    const bytes = Buffer.from(text, "latin1");
    for (let i = random(4); i > 0 && bytes.length; i--) bytes[random(bytes.length)] = random(256);
    return bytes.subarray(0, random(8) ? bytes.length : random(bytes.length + 1));
  };
  for (let round = 0; round < 60; round++) {
    const sockets = await Promise.all(Array.from({ length: 5 }, () => Ws.open(server)));
    for (const ws of sockets) {
      ws.send("40");
      for (let i = 0; i < 10; i++) ws.socket.send(mutate(seeds[random(seeds.length)]), { binary: random(4) === 0 });
    }
    if (round % 10 === 0) await alive();
    for (const ws of sockets) ws.end();
  }
  await alive();
});
