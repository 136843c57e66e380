// Polling without stickiness: any request of a session on any TCP connection, 4 shards. Never "Session ID unknown".
import assert from "node:assert/strict";
import http from "node:http";
import { both, shared } from "../lib/sut.mjs";
import { PATIENCE_MS, Polling, Ws, tcp, within } from "../lib/raw.mjs";

const SESSIONS = 60;
const ROUNDS = 15;
const server = await shared("echo", { shards: 4 });
const open = (agent) => Polling.open(server, { path: "/engine.io/", agent });
const each = (n, fn) => Promise.all(Array.from({ length: n }, (_, i) => fn(i)));

async function talk(session, rounds = ROUNDS) {
  for (let i = 0; i < rounds; i++) {
    const res = await session.post(`4${session.sid}-${i}`);
    assert.deepEqual([res.status, res.body], [200, "ok"]);
    assert.deepEqual(await session.poll(), [`4${session.sid}-${i}`]);
  }
}

both("every request on a new TCP connection", async () => {
  await each(SESSIONS, async () => talk(await open()));
});

both("every request on a random one of 50 keep-alive connections", async (t) => {
  const agents = Array.from({ length: 50 }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
  t.after(() => agents.forEach((a) => a.destroy()));
  const any = () => agents[Math.floor(Math.random() * agents.length)];
  await each(SESSIONS, async () => {
    const session = await open(any());
    Object.defineProperty(session, "agent", { get: any });
    await talk(session);
  });
});

both("waiting GETs on other connections than the POSTs that answer them", async () => {
  await each(SESSIONS, async () => {
    const session = await open();
    for (let i = 0; i < 8; i++) {
      const waiting = session.get();
      assert.equal((await session.post(`4${i}`)).status, 200);
      assert.equal((await waiting).body, `4${i}`);
    }
  });
});

both("requests of many sessions pipelined on one connection, on 10 such connections at once", async () => {
  const sessions = await each(40, () => open());
  await each(10, async (lane) => {
    const mine = sessions.filter((_, i) => i % 10 === lane);
    const socket = tcp(server);
    const lines = [];
    for (const s of mine) lines.push(`POST ${s.path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n4${lane}!`);
    // The last request asks for the end of the connection.
    for (const s of [...mine].reverse()) lines.push(`GET ${s.path} HTTP/1.1\r\nHost: x\r\n${s === mine[0] ? "Connection: close\r\n" : ""}\r\n`);
    socket.write(lines.join(""));
    await within(socket.ended, PATIENCE_MS, "end of the pipelined connection");
    const text = socket.received.toString();
    assert.equal(text.match(/HTTP\/1\.1 200/g)?.length, 2 * mine.length, text);
    assert.equal(text.split(`4${lane}!`).length - 1, mine.length);
  });
});

both("a websocket upgrade finds its polling session from any connection", async () => {
  await each(SESSIONS, async (i) => {
    const session = await open();
    const waiting = session.get();
    const ws = await Ws.open(server, `EIO=4&transport=websocket&sid=${session.sid}`, { path: "/engine.io/" });
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    assert.equal((await waiting).body, "6");
    ws.send("5");
    ws.send(`4${i}`);
    assert.equal(await ws.next(), `4${i}`);
    assert.equal((await session.get()).json.code, 3);
    ws.end();
  });
});
