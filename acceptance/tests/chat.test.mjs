// The chats of ../examples, as their README says: a page in Chromium, a phone that speaks MQTT, and curl, on one channel.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { browser } from "../lib/browser.mjs";
import { Inbox, mosquitto } from "../lib/mqtt-clients.mjs";
import { freePort } from "../lib/port.mjs";
import { BIN_DIR, REFERENCE, start } from "../lib/sut.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const EXAMPLES = join(HERE, "../../examples");
const PATIENCE_MS = 30_000;

const chromium = REFERENCE ? null : await browser();
after(() => chromium?.close());

/** The page with the library from npm instead of the network, and the server's address instead of that of its query. */
async function page(server) {
  const library = await readFile(join(HERE, "../node_modules/socket.io-client/dist/socket.io.min.js"), "utf8");
  const text = await readFile(join(EXAMPLES, "chat/page.html"), "utf8");
  const parts = text.split(/<script src=[^]*?<\/script>/);
  assert.equal(parts.length, 2, "the page loads one library");
  assert.ok(text.includes('"http://127.0.0.1:8000"'), "and has one server");
  const opened = await chromium.page(parts.join(`<script>${library}</script>`).replace('"http://127.0.0.1:8000"', `"${server.url}"`));
  const lines = () => opened.run("[...document.querySelectorAll('#messages li')].map((line) => line.textContent)");
  const submit = (form, value) => opened.run(`(() => { const form = document.getElementById("${form}"); form.querySelector("input").value = ${JSON.stringify(value)}; form.requestSubmit(); })()`);
  const trouble = () => opened.run("document.getElementById('trouble').textContent");
  return { lines, trouble, join: (name) => submit("join", name), say: (text) => submit("say", text), run: opened.run };
}

/** Waits for what a page shows: it has no event for that. */
async function shown(look, is, what) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (is(found)) return found;
    if (Date.now() > end) assert.fail(`${what}: ${JSON.stringify(found)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A program that is killed in the end; its lines. */
function program(t, command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], ...options });
  const lines = new Inbox();
  createInterface({ input: child.stdout }).on("line", (line) => lines.put(line));
  const end = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill();
    await once(child, "exit");
  };
  t.after(end);
  return { lines, end };
}

/** A line that fits. */
async function line(lines, pattern) {
  for (;;) {
    const found = pattern.exec(await lines.next());
    if (found) return found[1];
  }
}

const curl = async (...args) => (await promisify(execFile)("curl", ["-sS", "--fail", ...args], { timeout: PATIENCE_MS })).stdout;

/** A back end of a web application, and the server that asks it. `run(trunkline, port)` begins the first. */
async function behindWebhooks(t, folder, run) {
  const config = await readFile(join(EXAMPLES, folder, "trunkline.toml"), "utf8");
  assert.ok(config.includes("127.0.0.1:3000"));
  // Each has to know the other: a port that is free now stands in for the one that the files name.
  const port = await freePort();
  const server = await start("serve", config.replace("127.0.0.1:3000", `127.0.0.1:${port}`));
  t.after(() => server.stop());
  const begin = async () => {
    const running = run(server.privateUrl, port);
    await line(running.lines, /^webhooks on (.*)$/);
    return running;
  };
  return { server, begin };
}

const python = (t) => {
  const venv = join(HERE, "../.venv/bin/python3");
  const command = existsSync(venv) ? venv : "python3";
  return behindWebhooks(t, "chat-python", (trunkline, port) => program(t, command, [join(EXAMPLES, "chat-python/back_end.py"), "--port", `${port}`, "--trunkline", trunkline]));
};

const node = async (t) => {
  // What `npm install` would bring is what the tests have.
  const folder = await mkdtemp(join(tmpdir(), "trunkline-chat-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await cp(join(EXAMPLES, "chat-node"), folder, { recursive: true });
  await symlink(join(HERE, "../node_modules"), join(folder, "node_modules"));
  return behindWebhooks(t, "chat-node", (TRUNKLINE, PORT) => program(t, process.execPath, ["back_end.mjs"], { cwd: folder, env: { ...process.env, PORT, TRUNKLINE } }));
};

const rust = async (t) => {
  const env = { ...process.env, TRUNKLINE_SERVER__PUBLIC_LISTEN: "127.0.0.1:0", TRUNKLINE_SERVER__PRIVATE_LISTEN: "127.0.0.1:0" };
  const { lines } = program(t, join(BIN_DIR, "examples/chat"), [], { cwd: join(EXAMPLES, ".."), env });
  const url = await line(lines, /^clients on (.*)$/);
  const { hostname, port } = new URL(url);
  return { server: { url, host: hostname, port: Number(port) } };
};

/** Everybody hears everybody. */
async function chat(t, server) {
  const [ada, bob] = [await page(server), await page(server)];
  await ada.join("ada");
  await shown(ada.lines, (lines) => lines.includes("ada is here"), "ada is there");
  await bob.join("x".repeat(21));
  await shown(bob.trouble, (text) => text === "A name has 1 to 20 characters.", "the back end refuses a name");
  await bob.join("bob");
  await shown(ada.lines, (lines) => lines.includes("bob is here"), "bob is there");
  const phone = await mosquitto.subscribe(t, server, { version: 5, filter: "chat/tea", qos: 1 });
  await ada.say("tea?");
  await shown(bob.lines, (lines) => lines.includes("ada: tea?"), "bob hears ada");
  assert.deepEqual(JSON.parse((await phone.next()).payload), { from: "ada", text: "tea?" });
  await ada.say("x".repeat(501));
  await shown(ada.trouble, (text) => text === "A message has 1 to 500 characters.", "the back end refuses a message");
  await mosquitto.publish(server, { version: 4, topic: "chat/tea", payload: '{"from":"phone","text":"on my way"}', qos: 1 });
  await mosquitto.publish(server, { version: 5, topic: "chat/tea", payload: "plain", qos: 0 });
  await curl(`${server.url}/publish?channel=chat/tea&event=said`, "-d", '{"from":"curl","text":"hi"}');
  for (const one of [ada, bob]) {
    const lines = await shown(one.lines, (lines) => lines.includes("curl: hi"), "a page hears curl");
    assert.deepEqual(lines.slice(-4), ["ada: tea?", "phone: on my way", "plain", "curl: hi"]);
  }
  const heard = [];
  while (heard.at(-1) !== "hi") heard.push(JSON.parse((await phone.next()).payload.replace(/^plain$/, '{"text":"plain"}')).text);
  assert.deepEqual(heard, ["on my way", "plain", "hi"]);
  // curl hears what was said before, and whoever opens the page now sees it.
  const told = await curl("-N", `${server.url}/sse?channel=chat/tea&history=10&limit=2`);
  assert.match(told, /event: notice\ndata: {"text":"ada is here"}\n/);
  const late = await page(server);
  await shown(late.lines, (lines) => lines.includes("ada: tea?") && lines.at(-1) === "curl: hi", "a newcomer sees what was said");
  return { ada, bob };
}

const options = { skip: REFERENCE && "an example of Trunkline", timeout: 60_000 };

test("a chat with Trunkline inside a program in Rust", options, async (t) => {
  const { server } = await rust(t);
  const { ada, bob } = await chat(t, server);
  await bob.run("void socket.disconnect()");
  await shown(ada.lines, (lines) => lines.at(-1) === "bob has left", "bob has left");
});

for (const [name, prepare] of [["in Python", python], ["in Node.js with express", node]]) {
  test(`a chat with a back end ${name}`, options, async (t) => {
    const { server, begin } = await prepare(t);
    const first = await begin();
    const { ada, bob } = await chat(t, server);
    await first.end();
    // Nobody answers, nobody is disconnected, and what the back end is only told waits for it.
    await bob.run("void socket.disconnect()");
    await ada.say("anybody?");
    await shown(ada.trouble, (text) => text === "No answer. Please try again.", "there is no answer");
    assert.equal(await ada.run("socket.connected"), true);
    await begin();
    await shown(ada.lines, (lines) => lines.at(-1) === "bob has left", "the back end hears of it when it is back");
    await ada.say("you are back");
    await shown(ada.lines, (lines) => lines.at(-1) === "ada: you are back", "and answers");
  });
}
