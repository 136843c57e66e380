// node lib/eventsource-listening.mjs npm|chromium URL: an EventSource as a program or a page has it, which comes back by itself as long as
// it wants to. Prints what happens, a word and what belongs to it a line, until standard input ends.
import { EventSource } from "eventsource";
import { browser } from "./browser.mjs";

const [kind, url] = process.argv.slice(2);

/** What both do: `say` is told of everything. */
function listen(Source, url, say) {
  const source = new Source(url);
  source.onopen = () => say("open");
  source.onmessage = (event) => say(`message ${event.data}`);
  source.onerror = (event) => say(`error ${["connecting", "open", "closed"][source.readyState]}${event.code ? ` ${event.code}` : ""}`);
}

let chromium;
if (kind === "npm") {
  listen(EventSource, url, (line) => console.log(line));
} else {
  chromium = await browser();
  const page = await chromium.page(`<!doctype html><script>
    const lines = [];
    let waiting;
    const wake = () => { if (lines.length) { waiting(lines.shift()); waiting = undefined; } };
    const next = () => new Promise((resolve) => { waiting = resolve; wake(); });
    ${listen}
  </script>`);
  await page.run(`void listen(EventSource, ${JSON.stringify(url)}, (line) => { lines.push(line); if (waiting) wake(); })`);
  (async () => {
    for (;;) console.log(await page.run("next()"));
  })();
}
process.stdin.resume();
process.stdin.on("end", async () => {
  await chromium?.close();
  process.exit(0);
});
