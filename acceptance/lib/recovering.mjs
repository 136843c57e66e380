// Clients of Socket.IO for `py/crash.py`: each emits numbers to the others, counts what comes, and comes back by itself. What
// happens is told on standard output, a line of JSON each; a line on standard input ends the emitting.
//
//   node lib/recovering.mjs URL CLIENTS

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const WINDOW = 20;
const [url, count] = process.argv.slice(2);
let isStopping = false;
// Nobody emits before everybody is there to hear it.
let missing = Number(count);

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

class Client {
  constructor(name, transports) {
    this.name = name;
    this.next = 0;
    this.open = new Set();
    this.socket = io(url, {
      transports,
      forceNew: true,
      reconnectionDelay: 20,
      reconnectionDelayMax: 200,
      timeout: 5000,
    });
    this.isNew = true;
    this.socket.on("connect", () => {
      tell({ who: name, connected: this.isNew ? "new" : this.socket.recovered ? "recovered" : "lost" });
      missing -= this.isNew ? 1 : 0;
      this.isNew = false;
      if (missing === 0) clients.forEach((client) => client.emit());
    });
    // An answer to what was emitted on a connection that is gone does not come.
    this.socket.on("disconnect", () => this.open.clear());
    // What was replayed on a connection that went before it was complete is replayed again, and the library keeps both.
    this.socket.io.on("close", () => {
      this.socket.receiveBuffer = [];
    });
    // The last argument is the offset.
    this.socket.on("say", (payload) => tell({ who: name, came: payload }));
  }

  emit() {
    while (!isStopping && missing === 0 && this.socket.connected && this.open.size < WINDOW) {
      const payload = `${this.name}:${this.next++}`;
      this.open.add(payload);
      this.socket.emit("say", payload, () => {
        this.open.delete(payload);
        tell({ who: this.name, acknowledged: payload });
        setImmediate(() => this.emit());
      });
    }
  }
}

// Half of them begin with polling and upgrade.
const clients = Array.from({ length: Number(count) }, (_, at) => {
  return new Client(`c${at}`, at % 2 === 0 ? ["websocket"] : ["polling", "websocket"]);
});

createInterface({ input: process.stdin }).once("line", () => {
  isStopping = true;
  const isQuiet = () => clients.every(({ open, socket }) => open.size === 0 && socket.connected);
  const look = setInterval(() => {
    if (isQuiet()) {
      clearInterval(look);
      tell({ stopped: true });
    }
  }, 20);
});
