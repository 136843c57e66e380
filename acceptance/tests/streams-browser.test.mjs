// Chromium's own EventSource, in a page of another origin.
import assert from "node:assert/strict";
import { after } from "node:test";
import { browser } from "../lib/browser.mjs";
import { cuttable } from "../lib/cuttable.mjs";
import { REFERENCE, ours, start } from "../lib/sut.mjs";

const chromium = REFERENCE ? null : await browser();
after(() => chromium?.close());

const HTML = `<!doctype html><script>
  const seen = [], notices = [], states = [];
  function listen(url) {
    const source = new EventSource(url);
    source.onmessage = (event) => seen.push([event.lastEventId, event.data]);
    source.addEventListener("say", (event) => seen.push([event.lastEventId, "say " + event.data]));
    source.addEventListener("trunkline", (event) => notices.push(JSON.parse(event.data)));
    source.onerror = () => states.push(source.readyState);
    return new Promise((resolve) => { source.onopen = () => { states.push(source.readyState); resolve(true); }; source.addEventListener("error", () => resolve(false), { once: true }); });
  }
  const until = (is) => new Promise((resolve) => { const look = () => (is() ? resolve(true) : setTimeout(look, 10)); look(); });
</script>`;

const publish = async (server, channel, body, event) => {
  const query = new URLSearchParams({ channel, ...(event && { event }) });
  const res = await fetch(`${server.url}/publish?${query}`, { method: "POST", body });
  assert.equal(res.status, 200);
};

ours("a page of a listed origin hears events by name and resumes without loss when the connection is cut", async () => {
  const page = await chromium.page(HTML);
  const server = await start("mqtt", { streamsCorsOrigins: [page.origin], streamsRetryMs: 50, shards: 2 });
  const proxy = await cuttable(server);
  try {
    assert.equal(await page.run(`listen("${proxy.url}/sse?channel=log/page")`), true);
    for (let n = 1; n <= 50; n++) {
      await publish(server, "log/page", String(n), n % 2 ? "say" : undefined);
      if (n % 10 === 5) proxy.cut();
    }
    await page.run("until(() => seen.length >= 50)");
    const seen = await page.run("seen.map(([, data]) => data)");
    assert.deepEqual(seen, Array.from({ length: 50 }, (_, i) => (i % 2 ? String(i + 1) : `say ${i + 1}`)));
    assert.equal(await page.run("new Set(seen.map(([id]) => id)).size"), 50);
    assert.ok(proxy.count() > 2, "it was cut");
    assert.ok((await page.run("notices")).every((notice) => notice.recovered !== false));
    // It publishes, too: a request that the browser asks about first.
    const sent = `fetch("${server.url}/publish?channel=log/page", { method: "POST", headers: { "content-type": "application/json" }, body: "[51]" })`;
    assert.equal(await page.run(`${sent}.then((res) => res.status)`), 200);
    await page.run("until(() => seen.length >= 51)");
  } finally {
    proxy.close();
    await server.stop();
  }
});

ours("a page comes back to a server that was restarted", async () => {
  const page = await chromium.page(HTML);
  const first = await start("mqtt", { streamsCorsOrigins: ["*"], streamsRetryMs: 50, drainMs: 0 });
  const proxy = await cuttable(first);
  try {
    assert.equal(await page.run(`listen("${proxy.url}/sse?channel=log/again")`), true);
    await publish(first, "log/again", "1");
    await page.run("until(() => seen.length >= 1)");
    const listen = first.url.slice("http://".length);
    await first.stop();
    const second = await start("mqtt", { streamsCorsOrigins: ["*"], publicListen: listen });
    try {
      // What it had is of another life, and it is told so.
      await page.run("until(() => notices.some((notice) => notice.recovered === false))");
      await publish(second, "log/again", "2");
      await page.run("until(() => seen.length >= 2)");
      assert.deepEqual(await page.run("seen.map(([, data]) => data)"), ["1", "2"]);
    } finally {
      await second.stop();
    }
  } finally {
    proxy.close();
    await first.stop();
  }
});

ours("a page of an origin that is not listed hears nothing and stays away", async () => {
  const page = await chromium.page(HTML);
  const server = await start("mqtt", { streamsCorsOrigins: ["https://app.example"] });
  try {
    assert.equal(await page.run(`listen("${server.url}/sse?channel=log/page")`), false);
    assert.deepEqual(await page.run("states"), [2], "closed for good");
  } finally {
    await server.stop();
  }
});
