// A TCP proxy in front of a server, whose connections can be cut at any moment.
import { connect, createServer } from "node:net";
import { once } from "node:events";

/** @returns {Promise<{port, url, cut, count, close}>} `cut` destroys every connection; `count` tells how many there were. */
export async function cuttable(server) {
  const open = new Set();
  let count = 0;
  const proxy = createServer((client) => {
    count += 1;
    const upstream = connect(server.port, server.host);
    open.add(client).add(upstream);
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      from.on("error", () => to.destroy());
      from.on("close", () => {
        open.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const { port } = proxy.address();
  const cut = () => open.forEach((socket) => socket.destroy());
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    cut,
    count: () => count,
    close: () => {
      proxy.close();
      cut();
    },
  };
}
