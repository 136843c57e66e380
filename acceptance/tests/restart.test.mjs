// SIGTERM and a new process on the same port: for clients with recovery nothing happened but a short silence.
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TRANSPORTS, ask, collect, connected, next, settled } from "../lib/clients.mjs";
import { api } from "../lib/rest.mjs";
import { ours, start } from "../lib/sut.mjs";

const CLIENTS = 50;

/** Publishes numbers one after the other until the server does not answer; resolves with those it said yes to. */
async function publish(server, from) {
  const acknowledged = [];
  for (let n = from; ; n++) {
    const res = await api(server, "POST", "/v1/messages", { channel: "csr", event: "news", data: n }).catch(() => undefined);
    if (res?.status !== 200) return acknowledged;
    acknowledged.push(n);
  }
}

/** A client that keeps what it is told; a part of them polls, a part upgrades. */
async function client(t, server, index) {
  const transports = Object.values(TRANSPORTS)[index % 3];
  const socket = await connected(t, server, "/csr", { transports, auth: { user: `user-${index}` } });
  await ask(socket, "join", [`room-${index % 5}`]);
  const got = [];
  socket.on("news", (n) => got.push(n));
  return Object.assign(socket, { got, sid: socket.id, auths: collect(socket, "auth") });
}

ours("50 clients of all transports survive two restarts: recovered, same id, nothing lost, nothing twice", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "trunkline-restart-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const settings = { shards: 4, drainMs: 300, stateFile: join(folder, "state") };
  let server = await start("acceptance", settings);
  t.after(() => server.stop());
  const clients = await Promise.all(Array.from({ length: CLIENTS }, (_, index) => client(t, server, index)));
  const acknowledged = [];
  for (let round = 1; round <= 2; round++) {
    const back = Promise.all(clients.map((socket) => next(socket, "connect", 20_000)));
    back.catch(() => {});
    const publishing = publish(server, round * 100_000);
    await next(clients[0], "news");
    server.child.kill("SIGTERM");
    assert.deepEqual(await server.exited, { code: 0, signal: null }, server.log());
    const before = await publishing;
    assert.ok(before.length > 0);
    server = await start("acceptance", { ...settings, publicListen: `${server.host}:${server.port}` });
    assert.deepEqual(await readdir(folder), ["state.lock"], "the state file is used once");
    // A client that is not back yet gets what the next server is told, too.
    const after = round * 100_000 + 99_999;
    assert.equal((await api(server, "POST", "/v1/messages", { channel: "csr", event: "news", data: after })).status, 200);
    await back;
    assert.deepEqual(clients.map((socket) => [socket.recovered, socket.id]), clients.map((socket) => [true, socket.sid]));
    acknowledged.push(...before, after);
    // The session works: its events arrive and are answered, behind all that it missed.
    await Promise.all(clients.map(settled));
    for (const { got } of clients) {
      assert.equal(new Set(got).size, got.length, "twice");
      assert.deepEqual(acknowledged.filter((n) => !got.includes(n)), [], "lost");
      assert.deepEqual(got, [...got].sort((a, b) => a - b), "in order");
    }
  }
  assert.ok(clients.every(({ auths }) => auths.length === 0), "nobody was asked again");
  const room = next(clients[7], "hello");
  await ask(clients[2], "to-room", "room-2", "hello", 1);
  assert.deepEqual((await room).slice(0, 1), [1]);
  const user = next(clients[9], "you");
  assert.equal((await api(server, "POST", "/v1/messages", { channel: "$user/user-9", event: "you", data: 1 })).status, 200);
  await user;
});
