"""python-socketio's asyncio client, many at once."""

import asyncio
import unittest

import socketio

from .sut import TRANSPORTS, WAIT_S, ServerCase

NESTED = {"list": [1, [b"\x01\x02"]], "deep": {"a": b"\x00\xff"}}


class Async(ServerCase):
    settings = {"shards": 4}

    def run_each(self, scenario):
        """Runs `scenario(transports)` on every transport, bounded in time."""
        for name, transports in TRANSPORTS.items():
            with self.subTest(name):
                asyncio.run(asyncio.wait_for(scenario(transports), 30))

    async def client(self, transports, namespace="/", auth=None):
        client = socketio.AsyncClient(reconnection_delay=0.05)
        client.inbox = asyncio.Queue()

        async def put(event, *args):
            await client.inbox.put((event, *args))

        client.on("*", put, namespace=namespace)
        await client.connect(self.url, auth=auth, transports=transports, namespaces=[namespace], wait_timeout=WAIT_S)
        self.assertEqual(await asyncio.wait_for(client.inbox.get(), WAIT_S), ("auth", auth or {}))
        return client

    def test_events_acks_binary(self):
        async def scenario(transports):
            client = await self.client(transports, "/custom", {"token": "é"})
            await client.emit("message", (NESTED, "x", b"y"), namespace="/custom")
            self.assertEqual(await client.inbox.get(), ("message-back", NESTED, "x", b"y"))
            self.assertEqual(await client.call("message-with-ack", NESTED, namespace="/custom"), NESTED)

            async def answer(x):
                return x, b"z"

            client.on("question", answer, namespace="/custom")
            await client.emit("ask-me", (2000, "question", 5), namespace="/custom")
            self.assertEqual(await client.inbox.get(), ("asked", {"timeout": False, "args": [5, b"z"]}))
            await client.disconnect()

        self.run_each(scenario)

    def test_thirty_clients_broadcast(self):
        async def scenario(transports):
            namespace = f"/dyn-async-{len(transports)}-{transports[0]}"
            clients = await asyncio.gather(*(self.client(transports, namespace) for _ in range(30)))
            await asyncio.gather(*(c.call("join", "r", namespace=namespace) for c in clients))
            for i, client in enumerate(clients[:5]):
                await client.call("to-room", ("r", "hit", i), namespace=namespace)
            await asyncio.gather(*(c.call("message-with-ack", "settled", namespace=namespace) for c in clients))
            for n, client in enumerate(clients):
                hits = [client.inbox.get_nowait()[1] for _ in range(client.inbox.qsize())]
                self.assertEqual(hits, [i for i in range(5) if i != n])
            await asyncio.gather(*(c.disconnect() for c in clients))

        self.run_each(scenario)

    def test_order_of_a_burst(self):
        async def scenario(transports):
            client = await self.client(transports)
            for i in range(300):
                await client.emit("message", (i, b"b") if i % 10 == 0 else i)
            await client.call("message-with-ack", "settled")
            seen = [client.inbox.get_nowait()[1] for _ in range(client.inbox.qsize())]
            self.assertEqual(seen, list(range(300)))
            await client.disconnect()

        self.run_each(scenario)

    def test_refusal(self):
        async def scenario(transports):
            client = socketio.AsyncClient()
            with self.assertRaises(socketio.exceptions.ConnectionError):
                await client.connect(self.url, transports=transports, namespaces=["/no"], wait_timeout=WAIT_S)
            await client.disconnect()

        self.run_each(scenario)

    def test_reconnects(self):
        async def scenario():
            client = await self.client(["websocket"], "/custom")
            await client.emit("kick-transport", namespace="/custom")
            self.assertEqual(await asyncio.wait_for(client.inbox.get(), WAIT_S), ("auth", {}))
            await client.disconnect()

        asyncio.run(asyncio.wait_for(scenario(), 30))


if __name__ == "__main__":
    unittest.main()
