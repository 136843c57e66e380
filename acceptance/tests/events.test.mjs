// Events and acknowledgements in both directions, on every transport.
import assert from "node:assert/strict";
import { REFERENCE, both, shared } from "../lib/sut.mjs";
import { TRANSPORTS, ask, collect, connected, next, settled } from "../lib/clients.mjs";
import msgpack from "socket.io-msgpack-parser";

const server = await shared("acceptance");
// The reference needs the parser on both sides; Trunkline sees it by the first packet of a connection.
const packed = REFERENCE ? await shared("acceptance", { parser: "msgpack" }) : server;

const UNICODE = ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "\u{1f600}\u{1f1e9}\u{1f1ea}", "\u2028\u2029\u0000\u001e", 'q"\\/,[]{}'];
const NESTED = () => ({
  list: [1, "two", null, true, -0.5, [Buffer.from([1, 2, 3])]],
  deep: { a: { b: { c: Buffer.from([0, 255, 30, 0x1e, 52]) } } },
  empty: Buffer.alloc(0),
  text: "plain",
});

const VARIANTS = [
  ...Object.entries(TRANSPORTS).map(([name, transports]) => [name, server, { transports }]),
  ...Object.entries(TRANSPORTS).map(([name, transports]) => [`msgpack ${name}`, packed, { transports, parser: msgpack }]),
];

for (const [name, sut, options] of VARIANTS) {
  both(`${name}: arguments of every JSON kind come back as they were`, async (t) => {
    const socket = await connected(t, sut, "/", options);
    const args = [1, "2", 3.5, null, true, false, [], {}, [[["x"]]], { a: [{ b: null }] }, Number.MAX_SAFE_INTEGER, 1.5e-7, -1, ""];
    const back = next(socket, "message-back");
    socket.emit("message", ...args);
    assert.deepEqual(await back, args);
    assert.deepEqual(await ask(socket, "message-with-ack", ...args), args);
  });

  both(`${name}: no arguments`, async (t) => {
    const socket = await connected(t, sut, "/custom", options);
    const back = next(socket, "message-back");
    socket.emit("message");
    assert.deepEqual(await back, []);
    assert.deepEqual(await ask(socket, "message-with-ack"), []);
  });

  both(`${name}: unicode, in arguments, in event names and in acks`, async (t) => {
    const socket = await connected(t, sut, "/custom", options);
    assert.deepEqual(await ask(socket, "message-with-ack", ...UNICODE), UNICODE);
    for (const word of UNICODE) {
      const back = next(socket, word);
      socket.emit("all", word, { [word]: word });
      assert.deepEqual(await back, [{ [word]: word }]);
    }
  });

  both(`${name}: nested binary in events and acks`, async (t) => {
    const socket = await connected(t, sut, "/", options);
    const back = next(socket, "message-back");
    socket.emit("message", NESTED(), Buffer.from("second"));
    assert.deepEqual(plain(await back), plain([NESTED(), Buffer.from("second")]));
    assert.deepEqual(plain(await ask(socket, "message-with-ack", Buffer.from([9]), NESTED())), plain([Buffer.from([9]), NESTED()]));
  });

  both(`${name}: the server asks, the client answers, with and without binary`, async (t) => {
    const socket = await connected(t, sut, "/", options);
    socket.on("question", (a, b, answer) => answer({ a, b }, "x"));
    const asked = next(socket, "asked");
    socket.emit("ask-me", 2_000, "question", 1, Buffer.from([7]));
    const [{ timeout, args }] = await asked;
    assert.equal(timeout, false);
    assert.deepEqual(plain(args), plain([{ a: 1, b: Buffer.from([7]) }, "x"]));
  });

  both(`${name}: 500 events in a burst keep their order, in both directions`, async (t) => {
    const socket = await connected(t, sut, "/", options);
    const back = collect(socket, "message-back");
    for (let i = 0; i < 500; i++) socket.emit("message", i, i % 50 ? "text" : Buffer.from([i % 256]));
    await settled(socket);
    assert.deepEqual(back.map(([i]) => i), Array.from({ length: 500 }, (_, i) => i));
    const flood = collect(socket, "drop");
    assert.deepEqual(await ask(socket, "flood", "drop", 500, 100), [500]);
    assert.deepEqual(flood.map(([i]) => i), Array.from({ length: 500 }, (_, i) => i));
  });
}

both("an argument of 300,000 bytes passes both ways, text and binary", async (t) => {
  for (const transports of Object.values(TRANSPORTS)) {
    const socket = await connected(t, server, "/", { transports });
    const text = "é".repeat(150_000);
    assert.deepEqual(await ask(socket, "message-with-ack", text), [text]);
    const bytes = Buffer.alloc(300_000, 0xfe);
    const [reply] = await ask(socket, "message-with-ack", bytes);
    assert.equal(Buffer.compare(reply, bytes), 0);
  }
});

both("an event nobody answers: the callback of timeout() gets the error, a late ack is ignored", async (t) => {
  const socket = await connected(t, server);
  await assert.rejects(socket.timeout(80).emitWithAck("never", 1), /operation has timed out/);
  let calls = 0;
  await new Promise((resolve) => socket.timeout(60).emit("slow-ack", 200, "late", (error) => (calls++, assert.ok(error), resolve())));
  assert.deepEqual(await ask(socket, "slow-ack", 300, "in time"), ["in time"]);
  assert.equal(calls, 1);
});

both("the server asks and nobody answers: its time-out is reported, the late answer ignored", async (t) => {
  const socket = await connected(t, server);
  let late;
  socket.on("question", (answer) => (late = answer));
  const asked = collect(socket, "asked");
  const first = next(socket, "asked");
  socket.emit("ask-me", 100, "question");
  assert.deepEqual(await first, [{ timeout: true, args: [] }]);
  late("too late");
  await settled(socket);
  assert.equal(asked.length, 1);
});

both("a second answer to one question is ignored", async (t) => {
  const socket = await connected(t, server, "/", { transports: ["websocket"] });
  // The client's own guard against a double answer is passed by: the packet is written twice.
  socket.on("question", (answer) => {
    answer("one");
    const ids = socket.io.engine;
    ids.write(sent.at(-1));
  });
  const sent = [];
  socket.io.engine.on("packetCreate", (p) => p.type === "message" && /^3/.test(p.data) && sent.push(p.data));
  const asked = collect(socket, "asked");
  socket.emit("ask-me", 1_000, "question");
  await next(socket, "asked");
  await settled(socket);
  assert.deepEqual(asked, [[{ timeout: false, args: ["one"] }]]);
  assert.equal(socket.connected, true);
});

both("retries: the same event comes again under a new ack id until it is answered", async (t) => {
  const socket = await connected(t, server, "/custom", { retries: 3, ackTimeout: 150, transports: ["websocket"] });
  const ids = [];
  socket.io.engine.on("packetCreate", (p) => {
    const [, id] = /^2\/custom,(\d+)\["flaky"/.exec(p.data ?? "") ?? [];
    if (id) ids.push(id);
  });
  const key = `retries-${process.pid}-${socket.id}`;
  const [error, count] = await new Promise((resolve) => socket.emit("flaky", key, 2, (...reply) => resolve(reply)));
  assert.equal(error, null);
  assert.equal(count, 3);
  assert.equal(new Set(ids).size, 3);
});

both("acks of different events may come in any order", async (t) => {
  const socket = await connected(t, server);
  const order = [];
  await Promise.all([200, 20, 110].map((ms) => ask(socket, "slow-ack", ms, ms).then(([v]) => order.push(v))));
  assert.deepEqual(order, [20, 110, 200]);
});

/** Buffers, ArrayBuffers and typed arrays of any kind as one comparable form. */
function plain(value) {
  if (value instanceof ArrayBuffer) return { bytes: [...new Uint8Array(value)] };
  if (ArrayBuffer.isView(value)) return { bytes: [...new Uint8Array(value.buffer, value.byteOffset, value.byteLength)] };
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
  return value;
}
