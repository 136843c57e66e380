// `trunkline dev`: the binary with nothing configured, and its commands.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { BIN_DIR, ours, REFERENCE, shared } from "../lib/sut.mjs";
import { ask, collect, next, open, open2 } from "../lib/clients.mjs";
import { PATIENCE_MS, within } from "../lib/raw.mjs";
import { api } from "../lib/rest.mjs";

const server = REFERENCE ? {} : await shared("dev");
const trunkline = (...args) => promisify(execFile)(`${BIN_DIR}/trunkline`, args, { timeout: 60_000 });
/** Without the acceptance back end nothing is emitted behind CONNECT. */
async function enter(t, options) {
  const socket = open(t, server, "/", options);
  await next(socket, "connect");
  return socket;
}
/** `dev` answers every event with [] when asked: what was sent before has been handled then. */
const handled = (socket) => ask(socket, "handled?");

ours("anybody may connect to /; other namespaces are unknown", async (t) => {
  await enter(t, { auth: { anything: 1 } });
  const [error] = await next(open(t, server, "/other"), "connect_error");
  assert.equal(error.message, "Invalid namespace");
});

ours("events are relayed to the others, binary included, and acknowledged by []", async (t) => {
  const [a, b, c] = await Promise.all([enter(t), enter(t, { transports: ["polling"] }), enter(t, { transports: ["websocket"] })]);
  const own = collect(a, "tell");
  const got = [next(b, "tell"), next(c, "tell")];
  assert.deepEqual(await ask(a, "tell", { x: Buffer.from([1]) }, "two"), []);
  for (const args of await Promise.all(got)) assert.deepEqual(args, [{ x: Buffer.from([1]) }, "two"]);
  await handled(a);
  assert.deepEqual(own, []);
});

ours("join and leave: rooms are reached by REST, and acknowledged", async (t) => {
  const socket = await enter(t);
  const hits = collect(socket, "hit");
  const say = (data) => api(server, "POST", "/v1/messages", { channel: "dev-room", event: "hit", data });
  assert.deepEqual(await ask(socket, "join", "dev-room"), ["ok"]);
  await say(1);
  assert.deepEqual(await ask(socket, "leave", "dev-room"), ["ok"]);
  await say(2);
  await handled(socket);
  assert.deepEqual(hits, [[1]]);
});

ours("echo: back to its sender alone, as it was", async (t) => {
  const [a, b] = await Promise.all([enter(t), enter(t)]);
  const others = collect(b, "echo");
  const own = next(a, "echo");
  assert.deepEqual(await ask(a, "echo", { x: Buffer.from([1]) }, "two"), []);
  assert.deepEqual(await own, [{ x: Buffer.from([1]) }, "two"]);
  assert.deepEqual(await ask(b, "join", "echo-room"), ["ok"]);
  await handled(b);
  assert.deepEqual(others, []);
});

ours("say: to the other members of a room, as message", async (t) => {
  const [a, b, c] = await Promise.all([enter(t), enter(t), enter(t)]);
  for (const socket of [a, b]) assert.deepEqual(await ask(socket, "join", "say-room"), ["ok"]);
  const [own, outside] = [collect(a, "message"), collect(c, "message")];
  const heard = next(b, "message");
  assert.deepEqual(await ask(a, "say", "say-room", { x: Buffer.from([1]) }), []);
  assert.deepEqual(await heard, [{ x: Buffer.from([1]) }]);
  for (const socket of [a, c]) await handled(socket);
  assert.deepEqual([own, outside], [[], []]);
  const [refusal] = await ask(a, "say", 7);
  assert.match(refusal.error, /name of a room/);
});

ours("trunkline pub, status and sub work against it", async (t) => {
  const socket = await enter(t);
  const sub = spawn(`${BIN_DIR}/trunkline`, ["sub", "#", "--url", server.privateUrl], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => sub.kill());
  let printed = "";
  sub.stdout.on("data", (d) => (printed += d));
  const hit = next(socket, "hit");
  await trunkline("pub", "main", "--event", "hit", '{"n":1}', "--url", server.privateUrl);
  assert.deepEqual(await hit, [{ n: 1 }]);
  const status = await trunkline("status", "--url", server.privateUrl);
  assert.match(status.stdout, /\d+\.\d+\.\d+/);
  // sub may have started after the first message: it is sent again until it is seen.
  const until = Date.now() + 8_000;
  while (!printed.includes('"n"')) {
    assert.ok(Date.now() < until, `sub printed: ${printed}`);
    await trunkline("pub", "main", "--event", "hit", '{"n":1}', "--url", server.privateUrl);
  }
});

ours("trunkline pub --wait-replies prints what clients answer", async (t) => {
  const socket = await enter(t);
  socket.on("who", (answer) => answer("it is me"));
  const { stdout } = await trunkline("pub", `$client/${socket.id}`, "--event", "who", "--wait-replies", "3000", "--url", server.privateUrl);
  assert.match(stdout, /it is me/);
});

ours("EIO3 is off unless switched on", async (t) => {
  const [error] = await next(open2(t, server, "/", { reconnection: false }), "connect_error");
  assert.ok(error);
});

ours("the live page and the version", async () => {
  const page = await fetch(`${server.privateUrl}/`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-type"), /^text\/html/);
  const { stdout } = await trunkline("--version");
  assert.match(stdout, /^trunkline \d+\.\d+\.\d+/);
});

ours("it listens on loopback only, and says so", async () => {
  const child = spawn(`${BIN_DIR}/trunkline`, ["dev", "--public", "0.0.0.0:0", "--private", "127.0.0.1:0"], { stdio: ["ignore", "ignore", "pipe"] });
  let text = "";
  child.stderr.on("data", (d) => (text += d));
  const code = await within(new Promise((r) => child.once("exit", r)), PATIENCE_MS, "exit").catch((e) => (child.kill(), Promise.reject(e)));
  assert.notEqual(code, 0);
  assert.match(text, /loopback/);
});
