// MQTT by hand: exact bytes in and out, over TCP or WebSocket. Packets are made and read by mqtt-packet, a codec we did not write.
import { spawnSync } from "node:child_process";
import net from "node:net";
import { generate, parser } from "mqtt-packet";
import WebSocket from "ws";
import { PATIENCE_MS, within } from "./raw.mjs";
import { REFERENCE, both, ours } from "./sut.mjs";

export const MOSQUITTO = process.env.MOSQUITTO ?? "mosquitto";
const OLD = REFERENCE && /version [01]\.|version 2\.0/.test(spawnSync(MOSQUITTO, ["-h"], { encoding: "utf8" }).stdout ?? "");
/** A test that a reference before 2.1 fails by faults of its own. */
export const recent = OLD ? ours : both;
/** A test that a reference since 2.1 fails by faults of its own. */
export const early = OLD || !REFERENCE ? both : ours;

const WAIT_MS = PATIENCE_MS;
let unique = 0;
/** A name no other test uses; letters and digits only. */
export const name = (word = "n") => `${word}${process.pid}x${++unique}`;

/** The bytes of packets or of hexadecimal text with spaces. */
export const bytes = (what, version) => Buffer.isBuffer(what) ? what
  : typeof what === "string" ? Buffer.from(what.replaceAll(" ", ""), "hex")
  : generate(what, { protocolVersion: version });
export const hex = (buffer) => buffer.toString("hex").replace(/..(?=.)/g, "$& ");

/** Length of the packet at the start of `buffer`, or 0 when its fixed header is not complete. */
function packetLength(buffer) {
  for (let i = 1, length = 0; i < Math.min(5, buffer.length); i++) {
    length += (buffer[i] & 0x7f) * 128 ** (i - 1);
    if (buffer[i] < 0x80) return i + 1 + length;
  }
  return 0;
}

/** One connection: packets wait in `inbox` until a test takes them; deliveries are acknowledged unless `manual`. */
export class Mqtt {
  constructor(server, { version = 5, manual = false, websocket = false, frames } = {}) {
    Object.assign(this, { server, version, manual, inbox: [], waiting: [], received: Buffer.alloc(0), messageId: 0 });
    this.pending = Buffer.alloc(0);
    if (websocket) this.#overWebSocket(server, frames);
    else this.#overTcp(server);
    this.closed.then(() => this.waiting.splice(0).forEach((w) => w.reject(new Error(`closed; received ${hex(this.received.subarray(-64))}`))));
  }
  #overTcp(server) {
    this.socket = net.connect(server.port, server.host).setNoDelay(true);
    this.socket.on("data", (d) => this.#feed(d)).on("error", () => {});
    this.opened = new Promise((resolve, reject) => this.socket.once("connect", resolve).once("error", reject));
    this.closed = new Promise((resolve) => this.socket.once("close", resolve));
    this.write = (data) => this.socket.write(data);
    this.cut = () => this.socket.destroy();
  }
  #overWebSocket(server, frames = (data) => [data]) {
    this.socket = new WebSocket(server.mqttWs, ["mqtt"], { perMessageDeflate: false });
    this.socket.on("message", (d, binary) => binary ? this.#feed(d) : this.socket.terminate()).on("error", () => {});
    this.opened = new Promise((resolve, reject) => this.socket.once("open", resolve).once("error", reject));
    this.closed = new Promise((resolve) => this.socket.once("close", resolve));
    this.write = (data) => frames(data).forEach((frame) => this.socket.send(frame));
    this.cut = () => this.socket.terminate();
  }
  #feed(data) {
    this.received = Buffer.concat([this.received, data]);
    this.pending = Buffer.concat([this.pending, data]);
    for (let length; (length = packetLength(this.pending)) && length <= this.pending.length; ) {
      const raw = this.pending.subarray(0, length);
      this.pending = this.pending.subarray(length);
      this.#read(raw);
    }
  }
  #read(raw) {
    const reader = parser({ protocolVersion: this.version });
    reader.on("packet", (packet) => this.#take(Object.assign(packet, { raw })));
    reader.on("error", (error) => this.#take({ cmd: "unreadable", error, raw }));
    reader.parse(raw);
  }
  #take(packet) {
    if (!this.manual && packet.cmd === "publish" && packet.qos) this.send({ cmd: packet.qos === 1 ? "puback" : "pubrec", messageId: packet.messageId });
    if (!this.manual && packet.cmd === "pubrel") return this.send({ cmd: "pubcomp", messageId: packet.messageId });
    const at = this.waiting.findIndex((w) => w.fits(packet));
    if (at >= 0) this.waiting.splice(at, 1)[0].resolve(packet);
    else this.inbox.push(packet);
  }
  send(...packets) {
    this.write(Buffer.concat(packets.map((p) => bytes(p, this.version))));
  }
  /** Takes the first packet that fits out of the inbox, waiting for it. */
  take(fits, ms = WAIT_MS, what = "packet") {
    const at = this.inbox.findIndex(fits);
    if (at >= 0) return Promise.resolve(this.inbox.splice(at, 1)[0]);
    let entry;
    const come = new Promise((resolve, reject) => this.waiting.push((entry = { fits, resolve, reject })));
    return within(come, ms, what).catch((error) => {
      this.waiting = this.waiting.filter((w) => w !== entry);
      throw Object.assign(error, { message: `${error.message}; inbox: ${this.inbox.map((p) => p.cmd)}` });
    });
  }
  next(ms) {
    return this.take(() => true, ms);
  }
  of(cmd, ms) {
    return this.take((p) => p.cmd === cmd, ms, cmd.toUpperCase());
  }
  message(ms) {
    return this.of("publish", ms);
  }
  async messages(count) {
    const list = [];
    while (list.length < count) list.push(await this.message());
    return list;
  }
  /** Takes all messages that are here. */
  rest() {
    const here = this.inbox.filter((p) => p.cmd === "publish");
    this.inbox = this.inbox.filter((p) => p.cmd !== "publish");
    return here;
  }
  id() {
    return (this.messageId = (this.messageId % 65_535) + 1);
  }
  async connect(options = {}) {
    await within(this.opened, WAIT_MS, "connection");
    this.send(connectPacket(this.version, options));
    this.connack = await this.of("connack");
    return this;
  }
  async subscribe(filters, { id, ...options } = {}) {
    const subscriptions = [filters].flat().map((f) => ({ qos: 0, ...options, ...(typeof f === "string" ? { topic: f } : f) }));
    const messageId = this.id();
    this.send({ cmd: "subscribe", messageId, subscriptions, ...(id && { properties: { subscriptionIdentifier: id } }) });
    return this.take((p) => p.cmd === "suback" && p.messageId === messageId, WAIT_MS, "SUBACK");
  }
  async unsubscribe(...unsubscriptions) {
    const messageId = this.id();
    this.send({ cmd: "unsubscribe", messageId, unsubscriptions });
    return this.take((p) => p.cmd === "unsuback" && p.messageId === messageId, WAIT_MS, "UNSUBACK");
  }
  /** Publishes and completes the exchange; resolves with the last acknowledgement. */
  async publish(topic, payload = "", { qos = 0, ...options } = {}) {
    const messageId = qos ? this.id() : undefined;
    const about = (cmd) => this.take((p) => p.cmd === cmd && p.messageId === messageId, WAIT_MS, cmd.toUpperCase());
    this.send({ cmd: "publish", topic, payload, qos, messageId, retain: false, dup: false, ...options });
    if (qos === 1) return about("puback");
    if (qos === 0) return undefined;
    const pubrec = await about("pubrec");
    if (pubrec.reasonCode >= 0x80) return pubrec;
    this.send({ cmd: "pubrel", messageId });
    return about("pubcomp");
  }
  /** A round trip: the server has read all that this connection sent. */
  async settled() {
    this.send({ cmd: "pingreq" });
    await this.of("pingresp");
  }
  /** DISCONNECT, and the end of the connection. */
  async end(properties, reasonCode = 0) {
    this.send({ cmd: "disconnect", reasonCode, ...(properties && { properties }) });
    await this.gone();
  }
  gone(ms = WAIT_MS) {
    return within(this.closed, ms, "end of the connection");
  }
  /** The reason code with which the server ends the connection; undefined when it says nothing (MQTT 3.1.1 knows no other way). */
  async ending(ms = WAIT_MS) {
    await this.gone(ms);
    return this.inbox.find((p) => p.cmd === "disconnect")?.reasonCode;
  }
}

export function connectPacket(version, { clientId = name("c"), clean = true, keepalive = 60, expiry, properties, ...rest } = {}) {
  const all = { ...(expiry !== undefined && { sessionExpiryInterval: expiry }), ...properties };
  return { cmd: "connect", protocolId: version === 3 ? "MQIsdp" : "MQTT", protocolVersion: version, clientId, clean, keepalive, ...rest, ...(version === 5 && { properties: all }) };
}

/** A connection that has not said CONNECT yet; it is closed when the test ends. */
export async function dial(t, server, options) {
  const client = new Mqtt(server, options);
  t.after(() => client.cut());
  await within(client.opened, WAIT_MS, "connection");
  return client;
}

/** A connected client: options of `Mqtt` and of `connectPacket`. */
export async function connect(t, server, options = {}) {
  const { version, manual, websocket, frames, ...rest } = options;
  const client = await dial(t, server, { version, manual, websocket, frames });
  await client.connect(rest);
  const code = client.connack.reasonCode ?? client.connack.returnCode;
  if (code) throw new Error(`refused with ${code}`);
  return client;
}

/**
 * What `publisher` was acknowledged before this call and `client` must not get would most likely be here: the end of an absence.
 * Topics are independent of each other, so it says nothing of what is expected; `exactly` and `gather` wait for that.
 */
export async function quiet(client, publisher) {
  const marker = name("marker");
  // QoS 1, so that it waits behind what has to wait for the client's window.
  await client.subscribe(marker, { qos: 1 });
  await publisher.publish(marker, "", { qos: 1 });
  const { messageId } = await client.take((p) => p.cmd === "publish" && p.topic === marker);
  if (client.manual) client.send({ cmd: "puback", messageId });
  await client.settled();
}

/** Takes `count` messages and whatever comes beyond them. */
export async function exactly(client, count, publisher = client) {
  const list = await client.messages(count);
  await quiet(client, publisher);
  return [...list, ...client.rest()];
}

/** The same of several clients together: lists by client. */
export async function gather(clients, count, publisher) {
  const lists = clients.map(() => []);
  const look = () => lists.forEach((list, i) => list.push(...clients[i].rest()));
  const deadline = Date.now() + WAIT_MS;
  while (lists.flat().length < count) {
    if (Date.now() > deadline) throw new Error(`${lists.flat().length} of ${count} messages in ${WAIT_MS} ms`);
    await clients[0].settled();
    look();
  }
  for (const client of clients) await quiet(client, publisher);
  look();
  return lists;
}

/** Waits by the server's clock: the will of a session that ends after so many seconds. */
export async function elapsed(t, server, seconds) {
  const topic = name("clock");
  const watch = await connect(t, server);
  await watch.subscribe(topic);
  const clock = await connect(t, server, { expiry: seconds, will: { topic, payload: "", qos: 0, retain: false, properties: { willDelayInterval: 1_000 } } });
  clock.cut();
  await watch.message(WAIT_MS + seconds * 1_000);
}

/** Lists of what matters of messages. */
export const payloads = (messages) => messages.map((m) => m.payload.toString());
