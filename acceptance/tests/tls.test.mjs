// TLS with a self-signed certificate, on every transport; a new certificate on SIGHUP.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import tls from "node:tls";
import { both, ours, shared } from "../lib/sut.mjs";
import { TRANSPORTS, ask, connected, upgraded } from "../lib/clients.mjs";
import { within } from "../lib/raw.mjs";

const folder = mkdtempSync(join(tmpdir(), "trunkline-tls-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const file = (name) => join(folder, name);

function certificate(name) {
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", `/CN=${name}`,
    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", file(`${name}.key`), "-out", file(`${name}.crt`)], { stdio: "pipe" });
}
function use(name) {
  copyFileSync(file(`${name}.key`), file("key.pem"));
  copyFileSync(file(`${name}.crt`), file("cert.pem"));
}
certificate("first");
certificate("second");
use("first");
const server = await shared("acceptance", { tls: { cert: file("cert.pem"), key: file("key.pem") } });

/** The common name of the certificate a new connection is shown. */
function shown() {
  return within(new Promise((resolve, reject) => {
    const socket = tls.connect({ host: server.host, port: server.port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });
    socket.on("error", reject);
  }), 5_000);
}

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  both(`${name} over TLS, binary and a large argument`, async (t) => {
    const socket = await connected(t, server, "/", { transports, rejectUnauthorized: false });
    if (name === "upgrade") await upgraded(socket);
    const bytes = Buffer.alloc(200_000, 5);
    const [back] = await ask(socket, "message-with-ack", bytes);
    assert.equal(Buffer.compare(back, bytes), 0);
  });
}

both("SIGHUP: new connections see the new certificate, old ones go on", async (t) => {
  const socket = await connected(t, server, "/", { transports: ["websocket"], rejectUnauthorized: false });
  assert.equal(await shown(), "first");
  use("second");
  server.child.kill("SIGHUP");
  const until = Date.now() + 5_000;
  while ((await shown()) !== "second") assert.ok(Date.now() < until, "the old certificate is still shown");
  assert.deepEqual(await ask(socket, "message-with-ack", "same connection"), ["same connection"]);
});

ours("SIGHUP with a broken certificate file keeps the one in use", async () => {
  const before = await shown();
  copyFileSync(file("first.key"), file("cert.pem"));
  server.child.kill("SIGHUP");
  for (let i = 0; i < 20; i++) assert.equal(await shown(), before);
  use("second");
});

both("plain HTTP on the TLS port is no answer and does no harm", async (t) => {
  const { request } = await import("../lib/raw.mjs");
  await request(server, "GET", "/socket.io/?EIO=4&transport=polling").then((r) => assert.equal(r.status, 400), () => {});
  const socket = await connected(t, server, "/", { transports: ["websocket"], rejectUnauthorized: false });
  assert.deepEqual(await ask(socket, "message-with-ack", 1), [1]);
});
