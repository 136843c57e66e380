// Tokens that `jose` makes, as socket.io-client and mqtt.js show them; keys in files and of an identity provider that changes,
// fails and comes back.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventSource } from "eventsource";
import * as jose from "jose";
import mqtt from "mqtt";
import { ours, start } from "../lib/sut.mjs";
import { next, open } from "../lib/clients.mjs";
import { name } from "../lib/mqtt.mjs";
import { within } from "../lib/raw.mjs";
import { api } from "../lib/rest.mjs";

const PUBLIC = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];
const SECRET = { HS256: 32, HS384: 48, HS512: 64 };
const AUDIENCE = "https://chat.example.com";
/** The provider is asked every 10 s at most. */
const PATIENCE_MS = 25_000;

const nowS = () => Math.floor(Date.now() / 1000);
const grants = (filters, allow = ["subscribe", "publish"]) => ({ permissions: [{ filters, allow }] });

/** A key pair with its public JWK. */
async function pair(alg, kid = `${alg}-1`) {
  const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  return { alg, kid, privateKey, publicKey, jwk: { ...(await jose.exportJWK(publicKey)), kid, alg, use: "sig" } };
}

const sign = ({ alg, kid, privateKey }, claims = {}) =>
  new jose.SignJWT({ sub: "u1", aud: AUDIENCE, iat: nowS(), exp: nowS() + 600, ...claims }).setProtectedHeader({ alg, kid }).sign(privateKey);

async function folder(t) {
  const path = await mkdtemp(join(tmpdir(), "trunkline-tokens-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function serving(t, settings) {
  const server = await start("mqtt", { shards: 2, drainMs: 50, authMode: "jwt", ...settings });
  t.after(() => server.stop());
  return server;
}

function mqttClient(t, server, token, options = {}) {
  const client = mqtt.connect({ host: server.host, port: server.port, protocolVersion: 5, clientId: name(), username: "any", password: token, reconnectPeriod: 200, ...options });
  client.on("error", () => {});
  t.after(() => client.end(true));
  return client;
}

/** The code of CONNACK. */
async function connack(t, server, token, options) {
  const client = mqttClient(t, server, token, { reconnectPeriod: 0, ...options });
  const answer = new Promise((resolve) => {
    client.once("connect", resolve);
    client.once("error", (error) => resolve({ reasonCode: error.code }));
  });
  const packet = await within(answer, PATIENCE_MS, "CONNACK");
  return packet.reasonCode ?? packet.returnCode;
}

/** "connected", or the connect_error. */
async function joining(t, server, options) {
  const socket = open(t, server, "/", { transports: ["websocket"], reconnection: false, ...options });
  return within(Promise.race([next(socket, "connect").then(() => "connected"), next(socket, "connect_error").then(([e]) => e)]), PATIENCE_MS, "an answer");
}

/** An identity provider: a JWK set over HTTP. */
async function provider(t, keys) {
  const state = { keys, status: 200, asked: 0 };
  const http = createServer((request, response) => {
    state.asked += 1;
    response.writeHead(state.status, { "content-type": "application/json", "cache-control": "max-age=3600" });
    response.end(state.status === 200 ? JSON.stringify({ keys: state.keys.map((key) => key.jwk) }) : "no");
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  t.after(() => http.close());
  state.url = `http://127.0.0.1:${http.address().port}/jwks.json`;
  return state;
}

const slow = (name, fn) => ours(name, fn);

ours("tokens of every algorithm are known by their JWK, over MQTT 5, 3.1.1 and Socket.IO", async (t) => {
  const keys = await Promise.all(PUBLIC.map((alg) => pair(alg)));
  for (const [alg, bytes] of Object.entries(SECRET)) {
    const secret = crypto.getRandomValues(new Uint8Array(bytes));
    keys.push({ alg, kid: `${alg}-1`, privateKey: secret, jwk: { kty: "oct", k: jose.base64url.encode(secret), kid: `${alg}-1`, alg } });
  }
  const file = join(await folder(t), "keys.json");
  await writeFile(file, JSON.stringify({ keys: keys.map((key) => key.jwk) }));
  const server = await serving(t, { jwtKeyFile: file });
  for (const key of keys) {
    const token = await sign(key);
    assert.equal(await connack(t, server, token), 0, key.alg);
    assert.equal(await connack(t, server, token, { protocolVersion: 4 }), 0, key.alg);
    assert.equal(await joining(t, server, { auth: { token } }), "connected", key.alg);
    const [head, claims, signature] = token.split(".");
    const other = jose.base64url.encode(JSON.stringify({ sub: "root" }));
    for (const forged of [`${head}.${other}.${signature}`, `${head}.${claims}.`, `${head}.${claims}.${signature.slice(0, -4)}AAAA`]) {
      assert.equal(await connack(t, server, forged), 0x86, `${key.alg} ${forged}`);
    }
  }
});

ours("keys in PEM, and a key that is good for one algorithm only", async (t) => {
  const keys = await Promise.all(["PS384", "ES256", "ES384", "ES512", "EdDSA"].map((alg) => pair(alg)));
  const file = join(await folder(t), "keys.pem");
  await writeFile(file, (await Promise.all(keys.map((key) => jose.exportSPKI(key.publicKey)))).join("\n"));
  const server = await serving(t, { jwtKeyFile: file, jwtAlgorithm: "PS384" });
  for (const key of keys) assert.equal(await connack(t, server, await sign(key)), 0, key.alg);
  const { privateKey } = keys[0];
  const pem = await jose.exportPKCS8(privateKey);
  const same = { alg: "RS256", kid: "a", privateKey: await jose.importPKCS8(pem, "RS256") };
  assert.equal(await connack(t, server, await sign(same)), 0x86);
  // The public key as a secret: what a verifier falls for that believes the header.
  const confused = { alg: "HS256", kid: "a", privateKey: new TextEncoder().encode(await jose.exportSPKI(keys[0].publicKey)) };
  assert.equal(await connack(t, server, await sign(confused)), 0x86);
  assert.equal(await connack(t, server, new jose.UnsecuredJWT({ sub: "u1" }).encode()), 0x86);
});

ours("what a token is refused for, in the words of each protocol", async (t) => {
  const key = await pair("ES256");
  const file = join(await folder(t), "key.json");
  await writeFile(file, JSON.stringify(key.jwk));
  const server = await serving(t, { jwtKeyFile: file, jwtAudience: [AUDIENCE], jwtIssuer: ["https://id.example.com"] });
  const iss = "https://id.example.com";
  assert.equal(await connack(t, server, await sign(key, { iss })), 0);
  const cases = {
    "the token has expired": { iss, exp: nowS() - 31 },
    "the token is not valid yet": { iss, nbf: nowS() + 60 },
    "the token is for another audience": { iss, aud: "other" },
    "the token is from another issuer": { iss: "other" },
    "the token's claims are malformed": { iss, trunkline: { permision: [] } },
  };
  for (const [text, claims] of Object.entries(cases)) {
    const token = await sign(key, claims);
    const error = await joining(t, server, { auth: { token } });
    assert.deepEqual([error.message, error.data], [text, { status: 401 }]);
    assert.equal(await connack(t, server, token), 0x86, text);
    assert.equal(await connack(t, server, token, { protocolVersion: 4 }), 4, text);
  }
  assert.equal((await joining(t, server, {})).message, "a token is needed");
});

ours("a token may come in a header, the query or a cookie", async (t) => {
  const key = await pair("ES256");
  const file = join(await folder(t), "key.json");
  await writeFile(file, JSON.stringify(key.jwk));
  const server = await serving(t, { jwtKeyFile: file, jwtCookie: "session" });
  const token = await sign(key);
  for (const transports of [["websocket"], ["polling"]]) {
    const ways = [{ extraHeaders: { authorization: `Bearer ${token}` } }, { query: { access_token: token } }, { extraHeaders: { cookie: `a=b; session=${token}` } }];
    for (const way of ways) assert.equal(await joining(t, server, { transports, ...way }), "connected", JSON.stringify(Object.keys(way)));
  }
});

ours("permissions: subscriptions and publishes as granted", async (t) => {
  const key = await pair("EdDSA");
  const file = join(await folder(t), "key.json");
  await writeFile(file, JSON.stringify(key.jwk));
  const server = await serving(t, { jwtKeyFile: file });
  const client = mqttClient(t, server, await sign(key, { trunkline: grants(["a/#", "in/{user}"]) }), { reconnectPeriod: 0 });
  await once(client, "connect");
  const granted = [];
  for (const filter of ["a/+", "#", "in/u1", "in/u2"]) granted.push(await new Promise((r) => client.subscribe(filter, { qos: 1 }, (_, __, packet) => r(packet.granted[0]))));
  assert.deepEqual(granted, [1, 0x87, 1, 0x87]);
  const publish = (topic) => new Promise((r) => client.publish(topic, "x", { qos: 1 }, (error, packet) => r(error?.code ?? packet.reasonCode ?? 0)));
  assert.deepEqual([await publish("a/b"), await publish("b")], [0, 0x87]);
});

ours("a connection ends with its token, and comes back with another", async (t) => {
  const key = await pair("ES256");
  const file = join(await folder(t), "key.json");
  await writeFile(file, JSON.stringify(key.jwk));
  const server = await serving(t, { jwtKeyFile: file });
  // Over for 27 s, of 30 that clocks may differ.
  const ending = await sign(key, { exp: nowS() - 27 });
  const fresh = await sign(key);
  let tokens = [ending, fresh];
  const socket = open(t, server, "/", { transports: ["websocket"], auth: (give) => give({ token: tokens.shift() ?? fresh }) });
  const client = mqttClient(t, server, ending);
  await Promise.all([next(socket, "connect"), once(client, "connect")]);
  client.options.password = fresh;
  const told = once(client, "disconnect");
  const [reason] = await next(socket, "disconnect", 10_000);
  assert.equal(reason, "transport close");
  await next(socket, "connect", 10_000);
  const [packet] = await within(told, PATIENCE_MS, "DISCONNECT");
  assert.equal(packet.reasonCode, 0x87);
  await within(once(client, "connect"), PATIENCE_MS, "another connection");
});

ours("a revoked token ends what it let in, and lets nobody in any more", async (t) => {
  const key = await pair("ES256");
  const file = join(await folder(t), "key.json");
  await writeFile(file, JSON.stringify(key.jwk));
  const server = await serving(t, { jwtKeyFile: file });
  const token = await sign(key, { jti: "stolen/1", trunkline: grants(["a"]) });
  const socket = open(t, server, "/", { transports: ["websocket"], auth: { token } });
  const client = mqttClient(t, server, token);
  const source = new EventSource(`${server.url}/sse?channel=a&access_token=${token}`);
  t.after(() => source.close());
  await within(Promise.all([next(socket, "connect", 20_000), once(client, "connect"), once(source, "open")]), 20_000, "all three");
  const [told, gone] = [once(client, "disconnect"), next(socket, "disconnect", 20_000)];
  const closed = new Promise((r) => source.addEventListener("error", (e) => source.readyState === EventSource.CLOSED && r(e.code)));
  const until = new Date(Date.now() + 600_000).toISOString();
  assert.equal((await api(server, "PUT", "/v1/revocations/stolen%2F1", { until })).status, 204);
  // Which socket.io-client takes for the server's wish: it does not come back by itself.
  assert.deepEqual((await gone)[0], "io server disconnect");
  const [packet] = await within(told, 20_000, "DISCONNECT");
  assert.deepEqual([packet.reasonCode, packet.properties?.reasonString], [0x87, "the token is revoked"]);
  assert.equal(await within(closed, 20_000, "the end for good"), 401);
  assert.equal((await joining(t, server, { auth: { token } })).message, "the token is revoked");
  assert.equal(await connack(t, server, token), 0x86);
  assert.equal(await connack(t, server, await sign(key, { jti: "other" })), 0);
  assert.equal((await api(server, "DELETE", "/v1/revocations/stolen%2F1")).status, 204);
  assert.equal(await connack(t, server, token), 0);
});

ours("PATCH takes a permission from who is connected, and ends its subscription; an end that is put forward closes", async (t) => {
  const key = await pair("ES256");
  const file = join(await folder(t), "key.json");
  await writeFile(file, JSON.stringify(key.jwk));
  const server = await serving(t, { jwtKeyFile: file });
  const token = await sign(key, { trunkline: grants(["a", "b"]) });
  const client = mqttClient(t, server, token);
  await within(once(client, "connect"), 20_000, "CONNACK");
  await client.subscribeAsync(["a", "b"], { qos: 1 });
  const source = new EventSource(`${server.url}/sse?channel=a&channel=b&envelope=1&access_token=${token}`);
  t.after(() => source.close());
  await within(once(source, "open"), 20_000, "the stream");
  const ids = (await api(server, "GET", "/v1/sessions")).json.items.map((item) => item.id);
  assert.equal(ids.length, 2);
  for (const id of ids) {
    const changed = await api(server, "PATCH", `/v1/sessions/${id}`, grants(["b"]));
    assert.deepEqual([changed.status, changed.json.subscriptions], [200, ["$user/u1", "b"]]);
  }
  const [heard, event] = [once(client, "message"), once(source, "message")];
  for (const channel of ["a", "b"]) await api(server, "POST", "/v1/messages", { channel, data: channel });
  assert.equal((await within(heard, 20_000, "the message"))[0], "b");
  assert.equal(JSON.parse((await within(event, 20_000, "the event"))[0].data).channel, "b");
  const socket = open(t, server, "/", { transports: ["websocket"], auth: { token } });
  await next(socket, "connect", 20_000);
  const [gone, back] = [next(socket, "disconnect", 20_000), next(socket, "connect", 20_000)];
  assert.equal((await api(server, "PATCH", `/v1/sessions/${encodeURIComponent(socket.id)}`, { expires_at: 1 })).status, 200);
  assert.equal((await gone)[0], "transport close");
  await back;
});

ours("SIGHUP reads the keys again, and a file that is none leaves the old ones", async (t) => {
  const [one, two] = [await pair("ES256", "k1"), await pair("ES256", "k2")];
  const file = join(await folder(t), "key.json");
  await writeFile(file, JSON.stringify(one.jwk));
  const server = await start("serve", `[auth]\nmode = "jwt"\n[auth.jwt]\nkey_file = "${file}"\n`);
  t.after(() => server.stop());
  let log = "";
  for (const stream of [server.child.stdout, server.child.stderr]) stream.on("data", (data) => (log += data));
  const logged = async (what) => {
    for (const end = Date.now() + 20_000; !what.test(log); await new Promise((r) => setTimeout(r, 20))) assert.ok(Date.now() < end, log);
  };
  await writeFile(file, "no key");
  server.child.kill("SIGHUP");
  await logged(/the keys of tokens could not be read, the old ones stay.*key\.json/);
  assert.equal(await connack(t, server, await sign(one)), 0);
  await writeFile(file, JSON.stringify(two.jwk));
  server.child.kill("SIGHUP");
  await logged(/the keys of tokens were read again/);
  assert.deepEqual([await connack(t, server, await sign(two)), await connack(t, server, await sign(one))], [0, 0x86]);
});

slow("the provider's keys change: whoever has the new one is let in once it was asked", async (t) => {
  const [one, two] = [await pair("RS256", "k1"), await pair("RS256", "k2")];
  const idp = await provider(t, [one]);
  const server = await serving(t, { jwtUrl: idp.url, jwtAudience: [AUDIENCE] });
  const first = mqttClient(t, server, await sign(one));
  await within(once(first, "connect"), PATIENCE_MS, "CONNACK");
  idp.keys = [two];
  const token = await sign(two);
  const refused = [];
  const socket = open(t, server, "/", { transports: ["websocket"], auth: { token } });
  socket.on("connect_error", (error) => error.data && refused.push(error));
  const client = mqttClient(t, server, token);
  client.on("error", (error) => refused.push(error));
  await within(Promise.all([next(socket, "connect", PATIENCE_MS), once(client, "connect")]), PATIENCE_MS, "both");
  assert.deepEqual(refused, []);
  assert.ok(idp.asked <= 4, `asked ${idp.asked} times`);
  // The old one is known no more; its token was made before the set was fetched.
  assert.equal(await connack(t, server, await sign(one, { iat: nowS() - 60 })), 0x86);
});

slow("a provider that fails refuses nobody, and its keys of before stay", async (t) => {
  const key = await pair("ES256", "k1");
  const idp = await provider(t, [key]);
  idp.status = 500;
  const server = await serving(t, { jwtUrl: idp.url, jwtAudience: [AUDIENCE] });
  const token = await sign(key);
  const refused = [];
  const client = mqttClient(t, server, token);
  client.on("error", (error) => refused.push(error));
  const socket = open(t, server, "/", { transports: ["websocket"], auth: { token } });
  socket.on("connect_error", (error) => error.data && refused.push(error));
  await once(client, "close");
  idp.status = 200;
  await within(Promise.all([once(client, "connect"), next(socket, "connect", PATIENCE_MS)]), PATIENCE_MS, "both");
  assert.deepEqual(refused, []);
  idp.status = 503;
  assert.equal(await connack(t, server, await sign(key)), 0);
});

ours("streams take tokens as an EventSource can show them, and say what a client may read", async (t) => {
  const key = await pair("EdDSA");
  const file = join(await folder(t), "key.json");
  await writeFile(file, JSON.stringify(key.jwk));
  const server = await serving(t, { jwtKeyFile: file, jwtCookie: "session" });
  const token = await sign(key, { trunkline: grants(["inbox/{user}"]) });
  const source = new EventSource(`${server.url}/sse?channel=inbox/u1&access_token=${token}`);
  t.after(() => source.close());
  await within(once(source, "open"), PATIENCE_MS, "the stream");
  const heard = once(source, "message");
  const publish = (headers, channel = "inbox/u1") =>
    fetch(`${server.url}/publish?channel=${channel}`, { method: "POST", body: "hi", headers }).then((res) => res.status);
  assert.equal(await publish({ cookie: `a=b; session=${token}` }), 200);
  assert.equal((await within(heard, PATIENCE_MS, "the message"))[0].data, "hi");
  assert.deepEqual([await publish({}), await publish({ authorization: `Bearer ${token}` }, "inbox/u2")], [401, 403]);
  // For good: an EventSource does not come back from it.
  for (const [query, code] of [[`channel=inbox/u2&access_token=${token}`, 403], ["channel=inbox/u1", 401]]) {
    const refused = new EventSource(`${server.url}/sse?${query}`);
    const [error] = await within(once(refused, "error"), PATIENCE_MS, "the refusal");
    assert.deepEqual([error.code, refused.readyState], [code, EventSource.CLOSED]);
  }
});

slow("whoever a stream's provider cannot vouch for yet comes back, and is let in then", async (t) => {
  const key = await pair("ES256", "k1");
  const idp = await provider(t, [key]);
  idp.status = 500;
  const server = await serving(t, { jwtUrl: idp.url, jwtAudience: [AUDIENCE] });
  const token = await sign(key, { trunkline: grants(["a"]) });
  const source = new EventSource(`${server.url}/sse?channel=a&access_token=${token}`);
  t.after(() => source.close());
  await within(once(source, "error"), PATIENCE_MS, "the end of an answer");
  assert.equal(source.readyState, EventSource.CONNECTING);
  idp.status = 200;
  const status = () => fetch(`${server.url}/poll?channel=a&wait=0&access_token=${token}`).then((res) => res.status);
  const told = new Set();
  await within((async () => { for (let last; last !== 200; told.add(last)) last = await status(); })(), PATIENCE_MS, "the keys");
  assert.deepEqual([...told].filter((code) => code !== 503), [200]);
});

ours("no token is in the log, whatever is logged", async (t) => {
  const key = await pair("ES256");
  const file = join(await folder(t), "key.json");
  await writeFile(file, JSON.stringify(key.jwk));
  const server = await serving(t, { jwtKeyFile: file, jwtCookie: "session", logFilter: "trace" });
  let log = server.log();
  for (const stream of [server.child.stdout, server.child.stderr]) stream.on("data", (data) => (log += data));
  const good = await sign(key);
  const bad = await sign(key, { exp: nowS() - 100 });
  for (const token of [good, bad]) {
    await connack(t, server, token);
    for (const way of [{ auth: { token } }, { query: { access_token: token } }, { extraHeaders: { authorization: `Bearer ${token}` } }, { extraHeaders: { cookie: `session=${token}` } }]) {
      for (const transports of [["websocket"], ["polling"]]) await joining(t, server, { transports, ...way });
    }
    for (const path of ["/poll?wait=0", "/sse?limit=1", "/ws?x=y"]) {
      await fetch(`${server.url}${path}&channel=a&access_token=${token}`).then((res) => res.body?.cancel());
    }
    await fetch(`${server.url}/publish?channel=a`, { method: "POST", body: "x", headers: { authorization: `Bearer ${token}` } });
  }
  await server.stop();
  assert.match(log, /a token was refused/);
  for (const token of [good, bad]) for (const part of token.split(".")) assert.ok(!log.includes(part.slice(0, 40)), "a token was logged");
});

ours("keys of the private port do what their scopes say", async (t) => {
  const { createHash, randomBytes } = await import("node:crypto");
  const keys = Object.fromEntries(["read", "publish", "admin"].map((scope) => [scope, randomBytes(32).toString("hex")]));
  const privateKeys = Object.entries(keys).map(([scope, key]) => ({ name: scope, sha256: createHash("sha256").update(key).digest("hex"), scopes: [scope] }));
  const server = await start("mqtt", { drainMs: 50, privateKeys });
  t.after(() => server.stop());
  const status = async (key, method, path, body) => {
    const headers = { ...(key && { authorization: `Bearer ${key}` }), ...(body && { "content-type": "application/json" }) };
    const answer = await fetch(server.privateUrl + path, { method, headers, body: body && JSON.stringify(body) });
    const told = answer.headers.get("content-type") === "application/problem+json" ? (await answer.json()).code : (await answer.text(), "");
    return [answer.status, told];
  };
  const message = { channel: "a", data: 1 };
  const calls = { read: ["GET", "/v1/sessions"], publish: ["POST", "/v1/messages", message], admin: ["DELETE", "/v1/sessions?user=nobody"] };
  for (const [scope, call] of Object.entries(calls)) {
    for (const [own, key] of Object.entries(keys)) {
      const may = own === scope || own === "admin";
      assert.deepEqual(await status(key, ...call), may ? [200, ""] : [403, "forbidden"], `${own}: ${call}`);
    }
    for (const key of [undefined, keys.read.slice(1), "x".repeat(64)]) assert.deepEqual(await status(key, ...call), [401, "unauthenticated"]);
  }
  assert.deepEqual(await status(keys.publish, "GET", "/v1/nothing"), [404, "not-found"]);
  assert.deepEqual(await status(undefined, "GET", "/health/live"), [200, ""]);
});
