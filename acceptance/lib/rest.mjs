// The private port as a back end uses it: fetch, JSON, a bearer key.

/** @returns {Promise<{status, type, headers, text, json}>} */
export async function api(server, method, path, body, { key = server.key, headers = {} } = {}) {
  const init = { method, headers: { ...headers } };
  if (key) init.headers.authorization ??= `Bearer ${key}`;
  if (body !== undefined) {
    init.headers["content-type"] ??= "application/json";
    init.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  const res = await fetch(server.privateUrl + path, init);
  const text = await res.text();
  const type = res.headers.get("content-type") ?? "";
  return { status: res.status, type, headers: res.headers, text, json: /json/.test(type) ? JSON.parse(text) : undefined };
}

/** All items of a list, page by page; `limit` small enough to need several. */
export async function pages(server, path, limit) {
  const items = [];
  let cursor = "";
  for (let round = 0; round < 1_000; round++) {
    const { status, json } = await api(server, "GET", `${path}${path.includes("?") ? "&" : "?"}limit=${limit}${cursor}`);
    if (status !== 200) throw new Error(`${path}: ${status}`);
    if (json.items.length > limit) throw new Error(`a page of ${json.items.length} items for a limit of ${limit}`);
    items.push(...json.items);
    if (!json.next) return items;
    cursor = `&cursor=${encodeURIComponent(json.next)}`;
  }
  throw new Error(`${path} has no last page`);
}

/** What is a problem document of this name and status. */
export function assertProblem(assert, answer, status, code) {
  assert.equal(answer.status, status, answer.text);
  assert.match(answer.type, /^application\/problem\+json/);
  assert.equal(answer.json.status, status);
  assert.equal(answer.json.code, code);
  assert.equal(answer.json.type, `/v1/problems/${code}`);
  assert.equal(typeof answer.json.title, "string");
}
