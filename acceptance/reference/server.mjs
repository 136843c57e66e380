// The handlers of README.md over npm socket.io.
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";
import { engineOptions, http, ready, settings } from "./args.mjs";

const options = { ...engineOptions, connectTimeout: settings.connectTimeoutMs ?? 45_000, serveClient: false };
// Connection state recovery is a switch of the whole server here: it is on when a test sets its window.
if (settings.csrWindowMs) options.connectionStateRecovery = { maxDisconnectionDuration: settings.csrWindowMs };
if (settings.parser === "msgpack") options.parser = msgpack;
const io = new Server(http, options);
const calls = new Map();
const OWN_QUERY = new Set(["EIO", "transport", "sid", "t", "b64"]);
const auth = (socket) => socket.conn.protocol === 3 ? ownQuery(socket) : socket.handshake.auth;
const ownQuery = (socket) => Object.fromEntries(Object.entries(socket.handshake.query).filter(([k]) => !OWN_QUERY.has(k)));

function admit(socket, next) {
  const { refuse, delayMs } = auth(socket) ?? {};
  if (socket.nsp.name === "/no") return next(Object.assign(new Error("Auth failed (custom namespace)"), { data: { code: 7 } }));
  if (typeof refuse === "string") return next(new Error(refuse));
  if (typeof delayMs === "number") return setTimeout(next, delayMs);
  next();
}

async function askRoom(socket, ack, [room, timeoutMs, event, ...args]) {
  const expected = (await socket.to(room).fetchSockets()).length;
  socket.to(room).timeout(timeoutMs).emit(event, ...args, (_error, replies) => {
    // One answer argument each: the reference keeps the first argument only.
    ack?.({ replies: replies.map((r) => [r]), missing: expected - replies.length });
  });
}

const handlers = {
  message: (s, _ack, args) => s.emit("message-back", ...args),
  "message-with-ack": (_s, ack, args) => ack?.(...args),
  handshake: (s, ack) => ack?.({ namespace: s.nsp.name, auth: s.handshake.auth, query: ownQuery(s) }),
  join: (s, ack, [rooms]) => (s.join(rooms), ack?.("ok")),
  leave: (s, ack, [rooms]) => ([rooms].flat().forEach((r) => s.leave(r)), ack?.("ok")),
  rooms: (s, ack) => ack?.([...s.rooms].filter((r) => r !== s.id).sort()),
  "to-room": (s, ack, [room, event, ...args]) => (s.to(room).emit(event, ...args), ack?.("ok")),
  "to-rooms": (s, ack, [rooms, except, event, ...args]) => (s.to(rooms).except(except).emit(event, ...args), ack?.("ok")),
  all: (s, ack, [event, ...args]) => (s.nsp.emit(event, ...args), ack?.("ok")),
  others: (s, ack, [event, ...args]) => (s.broadcast.emit(event, ...args), ack?.("ok")),
  flood: (s, ack, [event, n, size]) => (repeat(n, (i) => s.emit(event, i, "x".repeat(size))), ack?.(n)),
  volatile: (s, ack, [event, n, size]) => (repeat(n, (i) => s.volatile.emit(event, i, "x".repeat(size))), ack?.(n)),
  "all-volatile": (s, _ack, [event, ...args]) => s.nsp.volatile.emit(event, ...args),
  "ask-me": (s, _ack, [ms, event, ...args]) =>
    s.timeout(ms).emit(event, ...args, (error, ...reply) => s.emit("asked", { timeout: Boolean(error), args: error ? [] : reply })),
  "ask-room": askRoom,
  never: () => {},
  "slow-ack": (_s, ack, [ms, ...args]) => setTimeout(() => ack?.(...args), ms),
  flaky: (_s, ack, [key, failN]) => {
    const count = (calls.get(key) ?? 0) + 1;
    calls.set(key, count);
    if (count > failN) ack?.(count);
  },
  kick: (s) => s.disconnect(),
  "kick-transport": (s) => s.conn.close(),
};

function repeat(n, fn) {
  for (let i = 0; i < n; i++) fn(i);
}

function serve(socket) {
  if (!socket.recovered) socket.emit("auth", auth(socket) ?? {});
  socket.onAny((event, ...args) => {
    const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
    handlers[event]?.(socket, ack, args);
  });
}

for (const name of ["/", "/custom", "/chat", "/no", "/csr", "/csr-opt", /^\/dyn-[^/]+$/]) {
  io.of(name).use(admit).on("connection", serve);
}
ready();
