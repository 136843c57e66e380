// Chromium without a window, spoken to by the DevTools protocol: as much of it as a test needs.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import WebSocket from "ws";

const PROGRAM = process.env.CHROMIUM ?? "chromium-headless-shell";
const START_MS_MAX = 20_000;

/** @returns {Promise<{page, close}>} `page(html)` serves the text from an origin of its own and opens it. */
export async function browser() {
  const profile = await mkdtemp(join(tmpdir(), "trunkline-chromium-"));
  const args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"];
  const child = spawn(PROGRAM, args, { stdio: ["ignore", "ignore", "pipe"] });
  const endpoint = await new Promise((resolve, reject) => {
    let text = "";
    const timer = setTimeout(() => reject(new Error(`${PROGRAM} did not start:\n${text}`)), START_MS_MAX);
    child.once("error", reject);
    child.stderr.on("data", (data) => {
      text += data;
      const found = /DevTools listening on (ws:\S+)/.exec(text);
      if (found) {
        clearTimeout(timer);
        resolve(found[1]);
      }
    });
  });
  const socket = new WebSocket(endpoint);
  await once(socket, "open");
  const waiting = new Map();
  let last = 0;
  socket.on("message", (data) => {
    const { id, result, error } = JSON.parse(data);
    const done = waiting.get(id);
    waiting.delete(id);
    if (done) error ? done.reject(new Error(error.message)) : done.resolve(result);
  });
  const call = (method, params = {}, sessionId) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject });
      socket.send(JSON.stringify({ id: last, method, params, sessionId }));
    });
  const servers = [];

  async function page(html) {
    const server = createServer((_, res) => res.setHeader("content-type", "text/html").end(html));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    servers.push(server);
    const origin = `http://127.0.0.1:${server.address().port}`;
    const { targetId } = await call("Target.createTarget", { url: origin });
    const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
    /** Runs an expression in the page, waits for its promise, and gives its value. */
    const run = async (expression) => {
      const answer = await call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true }, sessionId);
      if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.exception?.description ?? answer.exceptionDetails.text);
      return answer.result.value;
    };
    // The page is there when its own script has run.
    while ((await run("document.readyState === 'complete' && location.origin")) !== origin) await new Promise((r) => setTimeout(r, 20));
    return { origin, run };
  }

  async function close() {
    servers.forEach((server) => {
      server.close();
      server.closeAllConnections();
    });
    const gone = child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined;
    // The program may be a script that starts the browser, so it is asked to end, which ends both.
    await call("Browser.close").catch(() => child.kill());
    await gone;
    child.stderr.destroy();
    socket.terminate();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
  return { page, close };
}
