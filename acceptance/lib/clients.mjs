// Helpers around foreign Socket.IO clients: what a test opens is closed when the test ends.
import { io } from "socket.io-client";
import { createRequire } from "node:module";
import { PATIENCE_MS } from "./raw.mjs";

const require = createRequire(import.meta.url);
/** socket.io-client 2.x: Engine.IO 3. */
export const io2 = require("socket.io-client-2");

export const TRANSPORTS = {
  polling: ["polling"],
  websocket: ["websocket"],
  upgrade: ["polling", "websocket"],
};

/** A new connection of its own; never shared with another test. */
export function open(t, server, nsp = "/", options = {}) {
  const socket = io(server.url + nsp, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50, randomizationFactor: 0, ...options });
  t.after(() => socket.io.engine ? (socket.io.reconnection(false), socket.io._close()) : socket.disconnect());
  return socket;
}

/** The same with socket.io-client 2.x. */
export function open2(t, server, nsp = "/", options = {}) {
  const socket = io2(server.url + nsp, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50, randomizationFactor: 0, ...options });
  t.after(() => (socket.io.reconnection(false), socket.io.close()));
  return socket;
}

/** Resolves with the arguments of the next `event`; fails after `ms`. */
export function next(emitter, event, ms = PATIENCE_MS) {
  return new Promise((resolve, reject) => {
    const done = (...args) => (clearTimeout(timer), resolve(args));
    const timer = setTimeout(() => (emitter.off(event, done), reject(new Error(`no "${event}" in ${ms} ms`))), ms);
    // What nobody waits for any more does not hold up the end.
    timer.unref();
    emitter.once(event, done);
  });
}

/** Opens, waits for CONNECT and for the `auth` event behind it. */
export async function connected(t, server, nsp, options) {
  const socket = open(t, server, nsp, options);
  let fail;
  const failed = new Promise((_, reject) => socket.once("connect_error", (fail = reject)));
  await Promise.race([next(socket, "auth"), failed]);
  socket.off("connect_error", fail);
  return socket;
}

/** Collects the arguments of every `event` from now on. */
export function collect(socket, event) {
  const list = [];
  socket.on(event, (...args) => list.push(args));
  return list;
}

/** Emits with an ack and resolves with its arguments. */
export function ask(socket, event, ...args) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ack of "${event}"`)), PATIENCE_MS);
    socket.emit(event, ...args, (...reply) => (clearTimeout(timer), resolve(reply)));
  });
}

/** Everything the server sent to `socket` before this call has arrived when it resolves: order is kept per connection. */
export const settled = (socket) => ask(socket, "message-with-ack", "settled");

/** The transport has been upgraded (or already is). */
export async function upgraded(socket) {
  const { engine } = socket.io;
  if (engine.transport.name !== "websocket" || engine.upgrading) await next(engine, "upgrade");
}
