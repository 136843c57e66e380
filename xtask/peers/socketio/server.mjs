// npm socket.io doing what the back end of `trunkline dev` does, as its users run it: one process, `ws` with `bufferutil`,
// no compression. `--processes N` is the way its documentation scales it on one machine: sticky balancing in a first process,
// N workers joined by the cluster adapter. `--recovery MS` turns connection state recovery on.
//
// Prints {"public","private","pid","pids"} in one line when it serves; ends on SIGTERM or when standard input is closed.
import cluster from "node:cluster";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { createAdapter, setupPrimary } from "@socket.io/cluster-adapter";
import { setupMaster, setupWorker } from "@socket.io/sticky";
import { Server } from "socket.io";

const { values: settings } = parseArgs({
  options: {
    public: { type: "string", default: "0" },
    private: { type: "string", default: "0" },
    recovery: { type: "string" },
    processes: { type: "string", default: "1" },
  },
});
const processes = Number(settings.processes);
const HOST = "127.0.0.1";
// Connections that may wait to be accepted, as many as the other servers of the comparison have.
const BACKLOG = 4096;

function socketServer(http) {
  const options = { serveClient: false, perMessageDeflate: false, transports: ["polling", "websocket"] };
  if (settings.recovery) options.connectionStateRecovery = { maxDisconnectionDuration: Number(settings.recovery) };
  const io = new Server(http, options);
  // As the documentation advises to save memory: the first request of a client is not kept.
  io.engine.on("connection", (raw) => (raw.request = null));
  io.on("connection", (socket) => serve(socket));
  return io;
}

function serve(socket) {
  const { user } = socket.handshake.auth;
  if (typeof user === "string") socket.join(`$user/${user}`);
  socket.on("join", (room, ack) => (socket.join(room), ack?.("ok")));
  socket.on("leave", (room, ack) => (socket.leave(room), ack?.("ok")));
  socket.on("echo", (...args) => {
    const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
    socket.emit("echo", ...args);
    ack?.("ok");
  });
  socket.on("say", (room, data, ack) => (socket.to(room).emit("message", data), ack?.("ok")));
}

// POST /v1/messages {channel, event?, data}
function backDoor(io) {
  return createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => answer(response, () => publish(io, request, Buffer.concat(parts))));
  });
}

function publish(io, request, body) {
  if (request.method !== "POST" || request.url !== "/v1/messages") return 404;
  const { channel, event = "message", data } = JSON.parse(body);
  (channel === "main" ? io.of("/") : io.to(channel)).emit(event, data);
  return 202;
}

function answer(response, publish) {
  let status = 400;
  try {
    status = publish();
  } catch {
    // A body that is no JSON.
  }
  response.writeHead(status, { "content-type": "application/json" });
  response.end(status === 202 ? '{"accepted":true}' : '{"accepted":false}');
}

const listen = (server, options) => new Promise((done, failed) => {
  server.once("error", failed);
  server.listen({ host: HOST, backlog: BACKLOG, ...options }, () => done(`${HOST}:${server.address().port}`));
});

function ready(addresses, pids) {
  console.log(JSON.stringify({ ...addresses, pid: process.pid, pids }));
}

function endWithOwner(end) {
  process.on("SIGTERM", end);
  process.stdin.on("end", end).on("error", end).resume();
}

async function one() {
  const http = createServer();
  const back = backDoor(socketServer(http));
  const addresses = {
    public: await listen(http, { port: Number(settings.public) }),
    private: await listen(back, { port: Number(settings.private) }),
  };
  endWithOwner(() => process.exit(0));
  ready(addresses, [process.pid]);
}

async function primary() {
  const http = createServer();
  setupMaster(http, { loadBalancingMethod: "least-connection" });
  setupPrimary();
  // Bytes of a connection and of attachments pass between the processes.
  cluster.setupPrimary({ serialization: "advanced" });
  const workers = [];
  const told = [];
  for (let n = 0; n < processes; n++) {
    // The first worker also has the private port.
    const worker = cluster.fork({ PEER_PRIVATE_PORT: n === 0 ? settings.private : "" });
    workers.push(worker);
    told.push(new Promise((done) => worker.on("message", (message) => message.peerReady && done(message))));
    worker.on("exit", () => process.exit(1));
  }
  const first = (await Promise.all(told))[0];
  const address = await listen(http, { port: Number(settings.public) });
  endWithOwner(() => {
    workers.forEach((worker) => worker.removeAllListeners("exit") && worker.process.kill("SIGKILL"));
    process.exit(0);
  });
  ready({ public: address, private: first.private }, [process.pid, ...workers.map((worker) => worker.process.pid)]);
}

async function worker() {
  const io = socketServer(createServer());
  io.adapter(createAdapter());
  setupWorker(io);
  const port = process.env.PEER_PRIVATE_PORT;
  // `exclusive`: this worker's own port, not one that the workers share.
  const address = port && (await listen(backDoor(io), { port: Number(port), exclusive: true }));
  process.on("disconnect", () => process.exit(0));
  process.send({ peerReady: true, private: address });
}

if (cluster.isWorker) await worker();
else if (processes > 1) await primary();
else await one();
