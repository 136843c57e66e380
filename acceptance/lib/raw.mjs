// Raw Engine.IO: HTTP requests on connections of their own choice, polling sessions, websockets, bare TCP.
import http from "node:http";
import net from "node:net";
import WebSocket from "ws";

const RS = "\x1e";
/** How long anything may take that has to come: whoever is late is only told so later, and a busy machine makes late. */
export const PATIENCE_MS = 30_000;
const REQUEST_MS_MAX = PATIENCE_MS;

/**
 * One HTTP request; by default on a new TCP connection.
 * @returns {Promise<{status, headers, body, json}>}
 */
export function request(server, method, path, { headers = {}, body, agent = false, signal } = {}) {
  return new Promise((resolve, reject) => {
    const req = http.request({ host: server.host, port: server.port, method, path, headers, agent, signal }, (res) => {
      const parts = [];
      res.on("data", (d) => parts.push(d));
      res.on("error", reject);
      res.on("end", () => {
        const bytes = Buffer.concat(parts);
        const text = bytes.toString();
        resolve({ status: res.statusCode, headers: res.headers, bytes, body: text, get json() { return JSON.parse(text); } });
      });
    });
    req.setTimeout(REQUEST_MS_MAX, () => req.destroy(new Error(`no answer to ${method} ${path}`)));
    req.on("error", reject);
    req.end(body);
  });
}

/** One polling session, each request on its own TCP connection unless an agent is given. */
export class Polling {
  constructor(server, base, handshake, agent) {
    Object.assign(this, { server, base, handshake, agent, sid: handshake.sid });
  }
  static async open(server, { path = "/socket.io/", query = "EIO=4&transport=polling", agent } = {}) {
    const base = `${path}?${query}`;
    const res = await request(server, "GET", base, { agent });
    if (res.status !== 200 || res.body[0] !== "0") throw new Error(`handshake: ${res.status} ${res.body}`);
    return new Polling(server, base, JSON.parse(res.body.slice(1)), agent);
  }
  get path() {
    return `${this.base}&sid=${this.sid}`;
  }
  get(options) {
    return request(this.server, "GET", this.path, { agent: this.agent, ...options });
  }
  post(body, options) {
    return request(this.server, "POST", this.path, { agent: this.agent, body, headers: { "content-type": "text/plain;charset=UTF-8" }, ...options });
  }
  /** Packets of one GET; answers pings. */
  async poll() {
    const res = await this.get();
    if (res.status !== 200) throw new Error(`poll: ${res.status} ${res.body}`);
    const packets = res.body.split(RS);
    if (packets.includes("2")) await this.post("3");
    return packets.filter((p) => p !== "2");
  }
  /** Polls until a packet fits; returns all packets seen. */
  async until(fits) {
    const seen = [];
    while (!seen.some(fits)) seen.push(...(await this.poll()));
    return seen;
  }
}

/** A websocket whose messages and close are buffered, so that none is missed. */
export class Ws {
  constructor(url, options = {}) {
    const { protocols, ...rest } = options;
    this.socket = new WebSocket(url, protocols, { perMessageDeflate: false, ...rest });
    this.queue = [];
    this.waiting = [];
    this.opened = new Promise((resolve, reject) => {
      this.socket.once("open", resolve);
      this.socket.once("error", reject);
      this.socket.once("unexpected-response", (_req, res) => {
        let body = "";
        res.on("data", (d) => (body += d));
        res.on("end", () => reject(Object.assign(new Error(`upgrade refused: ${res.statusCode}`), { status: res.statusCode, headers: res.headers, body })));
      });
    });
    this.opened.catch(() => {});
    this.closed = new Promise((resolve) => this.socket.once("close", (code, reason) => resolve({ code, reason: reason.toString() })));
    this.socket.on("error", () => {});
    this.socket.on("message", (data, binary) => this.#push(binary ? data : data.toString()));
    this.closed.then((close) => this.waiting.splice(0).forEach((w) => w.reject(new Error(`closed ${close.code}`))));
  }
  static async open(server, query = "EIO=4&transport=websocket", { path = "/socket.io/", ...options } = {}) {
    const ws = new Ws(`${server.ws}${path}?${query}`, options);
    await ws.opened;
    return ws;
  }
  #push(message) {
    const waiter = this.waiting.shift();
    if (waiter) waiter.resolve(message);
    else this.queue.push(message);
  }
  send(data) {
    this.socket.send(data);
  }
  /** The next message; fails after `ms` or when the socket closes. */
  next(ms = PATIENCE_MS) {
    if (this.queue.length) return Promise.resolve(this.queue.shift());
    if (this.socket.readyState >= WebSocket.CLOSING) return Promise.reject(new Error("closed"));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => (this.waiting.splice(this.waiting.indexOf(entry), 1), reject(new Error(`no message in ${ms} ms`))), ms);
      const entry = { resolve: (m) => (clearTimeout(timer), resolve(m)), reject: (e) => (clearTimeout(timer), reject(e)) };
      this.waiting.push(entry);
    });
  }
  /** Messages up to and with the first that fits; answers pings. */
  async until(fits, ms) {
    const seen = [];
    for (;;) {
      const message = await this.next(ms);
      if (message === "2") {
        this.send("3");
        continue;
      }
      seen.push(message);
      if (fits(message)) return seen;
    }
  }
  /** Resolves with the close if it comes within `ms`, else fails. */
  close_within(ms = PATIENCE_MS) {
    return within(this.closed, ms, "close");
  }
  end() {
    this.socket.terminate();
  }
}

/** A Socket.IO connection over a raw websocket, joined to `nsp`; `auth` event read. */
export async function joined(server, nsp = "/", auth) {
  const ws = await Ws.open(server);
  const name = nsp === "/" ? "" : `${nsp},`;
  ws.send(`40${name}${auth ? JSON.stringify(auth) : ""}`);
  const seen = await ws.until((m) => typeof m === "string" && m.startsWith(`42${name}["auth"`));
  return Object.assign(ws, { connect: JSON.parse(seen.find((m) => m.startsWith(`40${name}`)).slice(2 + name.length)) });
}

/** `promise`, or an error after `ms`. */
export function within(promise, ms, what = "answer") {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`no ${what} in ${ms} ms`)), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A bare TCP connection: what it received, and when it ended. */
export function tcp(server) {
  const socket = net.connect(server.port, server.host);
  socket.received = Buffer.alloc(0);
  socket.on("data", (d) => (socket.received = Buffer.concat([socket.received, d])));
  socket.on("error", () => {});
  socket.ended = new Promise((r) => socket.once("close", r));
  socket.ready = new Promise((r) => socket.once("connect", r));
  /** Resolves once `text` was received. */
  socket.seen = (text, ms = PATIENCE_MS) =>
    within(new Promise((resolve, reject) => {
      const look = () => socket.received.includes(text) && resolve(socket.received.toString("latin1"));
      socket.on("data", look);
      socket.once("close", () => reject(new Error(`closed before ${JSON.stringify(text)}: ${socket.received}`)));
      look();
    }), ms, JSON.stringify(text));
  return socket;
}

/** Nothing on the wire tells that a GET waits at the server or that it saw a connection end: the only sleep, and it is short. */
export const arrived = () => new Promise((r) => setTimeout(r, 60));
