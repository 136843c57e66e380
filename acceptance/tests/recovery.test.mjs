// Connection state recovery: what a cut connection gets back. Every known defect of the reference is a test of ours.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { TRANSPORTS, ask, collect, connected, next, open, settled, upgraded } from "../lib/clients.mjs";
import { PATIENCE_MS, Ws, arrived, joined, within } from "../lib/raw.mjs";

const server = await shared("acceptance", { csrWindowMs: 1_500, shards: 4, pingIntervalMs: 600, pingTimeoutMs: 400 });

/** A raw connection that names a pid; resolves with what came before and with the CONNECT reply. */
async function resume(auth, nsp = "/csr") {
  const ws = await Ws.open(server);
  await ws.next();
  ws.send(`40${nsp},${JSON.stringify(auth)}`);
  const seen = await ws.until((m) => typeof m === "string" && m.startsWith(`40${nsp},`));
  const connect = JSON.parse(seen.pop().slice(`40${nsp},`.length));
  return Object.assign(ws, { before: seen.filter((m) => m !== "2"), connect });
}
const args = (packet) => JSON.parse(packet.slice(packet.indexOf("[")));
const offset = (packet) => args(packet).at(-1);
/** Raw `/csr` connection: pid, sid, and the offset of its `auth` event. */
async function fresh(nsp = "/csr", auth = { n: 1 }) {
  const ws = await Ws.open(server);
  await ws.next();
  ws.send(`40${nsp},${JSON.stringify(auth)}`);
  const seen = await ws.until((m) => typeof m === "string" && m.startsWith(`42${nsp},["auth"`));
  const connect = JSON.parse(seen.find((m) => m.startsWith(`40${nsp},`)).slice(`40${nsp},`.length));
  return Object.assign(ws, { connect, offset: offset(seen.at(-1)) });
}
const cut = async (ws) => {
  ws.end();
  await ws.closed;
  await arrived();
};
/** Sends events to everybody in /csr; each test uses event names of its own. */
async function sender(t) {
  const socket = await connected(t, server, "/csr", { transports: ["websocket"] });
  return (event, ...rest) => ask(socket, "all", event, ...rest);
}
let unique = 0;
const name = () => `e${process.pid}x${++unique}`;
const only = (list, event) => list.filter((m) => typeof m === "string" && m.includes(`"${event}"`));

both("socket.io-client: cut, missed events come before connect, in order, same id, rooms kept", async (t) => {
  const send = await sender(t);
  const e = name();
  const socket = await connected(t, server, "/csr", { reconnectionDelay: 300, reconnectionDelayMax: 300 });
  assert.equal(socket.recovered, false);
  await ask(socket, "join", [`room-${e}`]);
  const auths = collect(socket, "auth");
  const log = [];
  socket.on(e, (x) => log.push(x));
  socket.on("connect", () => log.push("connect"));
  await send(e, 0);
  await settled(socket);
  const { id } = socket;
  socket.io.engine.close();
  await arrived();
  for (let i = 1; i <= 5; i++) await send(e, i);
  await next(socket, "connect");
  await send(e, 6);
  await settled(socket);
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, id);
  assert.deepEqual(log, [0, 1, 2, 3, 4, 5, "connect", 6]);
  assert.deepEqual(await ask(socket, "rooms"), [[`room-${e}`]]);
  assert.deepEqual(auths, []);
});

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  both(`${name}: socket.io-client recovers wherever its next connection lands, upgrading or not`, async (t) => {
    await Promise.all(Array.from({ length: 20 }, async () => {
      const socket = await connected(t, server, "/csr", { transports, reconnectionDelay: 200, reconnectionDelayMax: 200 });
      if (name === "upgrade") await upgraded(socket);
      const { id } = socket;
      socket.io.engine.close();
      await next(socket, "connect");
      assert.deepEqual([socket.recovered, socket.id], [true, id]);
    }));
  });
}

both("missed binary events come back as binary", async (t) => {
  const send = await sender(t);
  const e = name();
  const socket = await connected(t, server, "/csr", { reconnectionDelay: 300, reconnectionDelayMax: 300 });
  socket.io.engine.close();
  await arrived();
  const [back, got] = [next(socket, "connect"), next(socket, e)];
  await send(e, { x: Buffer.from([1, 2]) }, Buffer.from([3]));
  assert.deepEqual((await got).slice(0, 2), [{ x: Buffer.from([1, 2]) }, Buffer.from([3])]);
  await back;
  assert.equal(socket.recovered, true);
});

both("trace: pid in the reply, offset as last argument, missed events, then the same sid and pid", async (t) => {
  const send = await sender(t);
  const e = name();
  const a = await fresh();
  assert.equal(typeof a.connect.pid, "string");
  assert.equal(typeof a.offset, "string");
  await cut(a);
  await send(e, 1);
  await send(e, 2);
  const b = await resume({ pid: a.connect.pid, offset: a.offset, n: 1 });
  assert.deepEqual(b.connect, a.connect);
  assert.deepEqual(only(b.before, e).map((m) => args(m)[1]), [1, 2]);
  b.end();
});

both("an offset in the middle: only what came after it", async (t) => {
  const send = await sender(t);
  const e = name();
  const a = await fresh();
  for (let i = 0; i < 5; i++) await send(e, i);
  const seen = await a.until((m) => m.includes(`"${e}",4`));
  const third = offset(only(seen, e)[2]);
  await cut(a);
  const b = await resume({ pid: a.connect.pid, offset: third });
  assert.deepEqual(only(b.before, e).map((m) => args(m)[1]), [3, 4]);
  b.end();
});

both("room messages are recovered, those of other rooms are not", async (t) => {
  const e = name();
  const a = await fresh();
  a.send(`42/csr,1["join","${e}-in"]`);
  await a.until((m) => m === '43/csr,1["ok"]');
  await cut(a);
  const other = await connected(t, server, "/csr");
  await ask(other, "to-room", `${e}-in`, e, "in");
  await ask(other, "to-room", `${e}-out`, e, "out");
  const b = await resume({ pid: a.connect.pid, offset: a.offset });
  assert.deepEqual(only(b.before, e).map((m) => args(m)[1]), ["in"]);
  b.end();
});

both("an unknown pid: a new session, nothing replayed", async () => {
  const b = await resume({ pid: "nobody", offset: "x" });
  assert.notEqual(b.connect.pid, "nobody");
  assert.deepEqual(b.before, []);
  b.end();
});

both("after the window: a new session", async () => {
  const a = await fresh();
  await cut(a);
  await new Promise((r) => setTimeout(r, 1_700));
  const b = await resume({ pid: a.connect.pid, offset: a.offset });
  assert.notEqual(b.connect.pid, a.connect.pid);
  assert.notEqual(b.connect.sid, a.connect.sid);
  b.end();
});

both("events with an ack carry no offset", async () => {
  const a = await fresh();
  a.send('42/csr,["ask-me",500,"question","x"]');
  const [question] = (await a.until((m) => m.includes("question"))).slice(-1);
  assert.deepEqual(args(question), ["question", "x"]);
  assert.match(question, /^42\/csr,\d+\[/);
  a.end();
});

both("a kick ends the session for good", async () => {
  const a = await fresh();
  a.send('42/csr,["kick"]');
  await a.until((m) => m.startsWith("41/csr"));
  await cut(a);
  const b = await resume({ pid: a.connect.pid, offset: a.offset });
  assert.notEqual(b.connect.pid, a.connect.pid);
  b.end();
});

ours("41 of the client ends the session for good", async () => {
  const a = await fresh();
  a.send("41/csr,");
  a.send('40/csr,');
  await a.until((m) => m.startsWith("40/csr,"));
  await cut(a);
  const b = await resume({ pid: a.connect.pid, offset: a.offset });
  assert.notEqual(b.connect.pid, a.connect.pid);
  assert.notEqual(b.connect.sid, a.connect.sid);
  b.end();
});

ours("the old connection is not known to be dead: the session is taken over, the old transport closed", async (t) => {
  const send = await sender(t);
  const e = name();
  const a = await fresh();
  await send(e, 1);
  await a.until((m) => m.includes(`"${e}",1`));
  const b = await resume({ pid: a.connect.pid, offset: a.offset });
  assert.deepEqual(b.connect, a.connect);
  assert.deepEqual(only(b.before, e).map((m) => args(m)[1]), [1]);
  await a.close_within();
  // The time-out of the old connection would come now: the session must not notice.
  const until = Date.now() + 1_300;
  for (let i = 2; Date.now() < until; i++) {
    await send(e, i);
    await b.until((m) => m.includes(`"${e}",${i},`));
    await arrived();
  }
  b.end();
});

ours("a pid without an offset: replay from the start of the session", async (t) => {
  const send = await sender(t);
  const e = name();
  const a = await fresh();
  await send(e, 1);
  await a.until((m) => m.includes(`"${e}",1`));
  await cut(a);
  await send(e, 2);
  const b = await resume({ pid: a.connect.pid });
  assert.deepEqual(b.connect, a.connect);
  assert.deepEqual(only(b.before, e).map((m) => args(m)[1]), [1, 2]);
  b.end();
});

ours("an unknown offset while the ring reaches back to the start: replay from there", async (t) => {
  const send = await sender(t);
  const e = name();
  const a = await fresh();
  await cut(a);
  await send(e, 1);
  const b = await resume({ pid: a.connect.pid, offset: "of-an-earlier-session" });
  assert.deepEqual(b.connect, a.connect);
  assert.deepEqual(only(b.before, e).map((m) => args(m)[1]), [1]);
  b.end();
});

both("replayed events have offsets of their own: a second recovery does not repeat them", async (t) => {
  const send = await sender(t);
  const e = name();
  const a = await fresh();
  await cut(a);
  await send(e, 1);
  await send(e, 2);
  const b = await resume({ pid: a.connect.pid, offset: a.offset });
  const replayed = only(b.before, e);
  assert.deepEqual(replayed.map((m) => args(m).length), [3, 3]);
  await cut(b);
  await send(e, 3);
  const c = await resume({ pid: a.connect.pid, offset: offset(replayed[1]) });
  assert.deepEqual(c.connect, a.connect);
  assert.deepEqual(only(c.before, e).map((m) => args(m)[1]), [3]);
  c.end();
});

ours("volatile events carry an offset that recovers", async (t) => {
  const send = await sender(t);
  const e = name();
  const a = await fresh();
  a.send(`42/csr,["all-volatile","${e}","hello"]`);
  const [packet] = (await a.until((m) => m.includes(e))).slice(-1);
  assert.equal(args(packet).length, 3);
  await cut(a);
  await send(e, 1);
  const b = await resume({ pid: a.connect.pid, offset: offset(packet) });
  assert.deepEqual(b.connect, a.connect);
  assert.deepEqual(only(b.before, e).map((m) => args(m)[1]), [1]);
  b.end();
});

both("a client idle for longer than the window recovers", async (t) => {
  const send = await sender(t);
  const e = name();
  const a = await fresh();
  const until = Date.now() + 2_200;
  while (Date.now() < until) {
    assert.equal(await a.next(900), "2");
    a.send("3");
  }
  await cut(a);
  await send(e, 1);
  const b = await resume({ pid: a.connect.pid, offset: a.offset });
  assert.deepEqual(b.connect, a.connect);
  assert.deepEqual(only(b.before, e).map((m) => args(m)[1]), [1]);
  b.end();
});

both("a recovered session is still in its rooms, for later messages too, and over several cuts", async (t) => {
  const e = name();
  const other = await connected(t, server, "/csr");
  let a = await fresh();
  let last = a.offset;
  a.send(`42/csr,1["join","${e}"]`);
  await a.until((m) => m === '43/csr,1["ok"]');
  for (let round = 0; round < 4; round++) {
    await cut(a);
    await ask(other, "to-room", e, e, `missed ${round}`);
    const b = await resume({ pid: a.connect.pid, offset: last });
    assert.deepEqual(b.connect, a.connect);
    assert.deepEqual(only(b.before, e).map((m) => args(m)[1]), [`missed ${round}`]);
    await ask(other, "to-room", e, e, `live ${round}`);
    const [live] = only(await b.until((m) => m.includes(`live ${round}`)), e).slice(-1);
    last = offset(live);
    a = b;
  }
  a.end();
});

both("40 sessions on 4 shards, each recovered over another connection", async (t) => {
  const send = await sender(t);
  const e = name();
  const sessions = await Promise.all(Array.from({ length: 40 }, () => fresh()));
  for (const s of sessions) s.end();
  await arrived();
  await send(e, 1);
  const back = await Promise.all(sessions.map((s) => resume({ pid: s.connect.pid, offset: s.offset })));
  back.forEach((b, i) => {
    assert.deepEqual(b.connect, sessions[i].connect);
    assert.deepEqual(only(b.before, e).map((m) => args(m)[1]), [1]);
    b.end();
  });
});

both("two namespaces of one connection: both recovered", async () => {
  const a = await fresh();
  a.send('40/csr-opt,{"csr":true}');
  const seen = await a.until((m) => m.startsWith('42/csr-opt,["auth"'));
  const second = JSON.parse(seen.find((m) => m.startsWith("40/csr-opt,")).slice(11));
  const o = offset(seen.at(-1));
  await cut(a);
  const b = await resume({ pid: a.connect.pid, offset: a.offset });
  b.send(`40/csr-opt,${JSON.stringify({ pid: second.pid, offset: o, csr: true })}`);
  const [reply] = (await b.until((m) => m.startsWith("40/csr-opt,"))).slice(-1);
  assert.deepEqual([b.connect, JSON.parse(reply.slice(11))], [a.connect, second]);
  b.end();
});

ours("opt-in: no pid and no offset without auth.csr, both with it or with csr=1 in the query", async () => {
  const plain = await joined(server, "/csr-opt");
  assert.deepEqual(Object.keys(plain.connect), ["sid"]);
  plain.end();
  const opted = await fresh("/csr-opt", { csr: true });
  assert.equal(typeof opted.connect.pid, "string");
  assert.equal(typeof opted.offset, "string");
  opted.end();
  const ws = await Ws.open(server, "EIO=4&transport=websocket&csr=1");
  ws.send("40/csr-opt,");
  const [reply] = (await ws.until((m) => m.startsWith("40/csr-opt,"))).slice(-1);
  assert.equal(typeof JSON.parse(reply.slice(11)).pid, "string");
  ws.end();
});

ours("off by default: the main namespace has no pid and events have no offset", async () => {
  const ws = await joined(server, "/");
  assert.deepEqual(Object.keys(ws.connect), ["sid"]);
  ws.send('42["message",1]');
  assert.equal((await ws.until((m) => m.includes("message-back"))).at(-1), '42["message-back",1]');
  ws.end();
});

ours("socket.io-client that saw no event recovers too", async (t) => {
  const socket = open(t, server, "/csr-opt", { auth: { csr: true }, reconnectionDelay: 200, reconnectionDelayMax: 200, transports: ["websocket"] });
  await next(socket, "auth");
  const { id } = socket;
  // What the client knows when nothing was emitted to it: a pid and no offset.
  socket._lastOffset = undefined;
  const again = next(socket, "connect");
  socket.io.engine.close();
  await again;
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, id);
});

both("the pid of one namespace is worth nothing in another", async () => {
  const a = await fresh();
  await cut(a);
  const b = await resume({ pid: a.connect.pid, offset: a.offset, csr: true }, "/csr-opt");
  assert.notEqual(b.connect.pid, a.connect.pid);
  b.end();
  await within(b.closed, PATIENCE_MS);
});
