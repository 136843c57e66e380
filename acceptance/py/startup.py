"""How long a start takes that has much to take in again, and the memory that it takes.

    python -m py.startup --binary ../target/release/trunkline

Many sessions of MQTT that are away, each with messages of QoS 1 that wait for it, and many retained values; then SIGKILL and a
start over the same directory. What is there afterwards is counted by clients. `cargo xtask startup` builds what is needed and
runs it.
"""

import argparse
import pathlib
import tempfile
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from .crash import SETTINGS, progress
from .crash_mqtt import EXPIRY_S, SETTLE_S
from .killed import START_S, Server

PAYLOAD = b"x" * 100
# On their way at once: below the Receive Maximum of the server, which paho 2 does not keep to by itself.
WINDOW = 20
# Sessions that come back in the end and count what they get.
COUNTED = 10


class Client(mqtt.Client):
    """Of version 5, with answers that can be waited for."""

    def __init__(self, server, name, clean_start=False):
        super().__init__(mqtt.CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5)
        self.max_inflight_messages_set(WINDOW)
        self.is_up, self.subscribed = threading.Event(), threading.Event()
        self.came = 0
        self.on_connect = lambda *_: self.is_up.set()
        self.on_subscribe = lambda *_: self.subscribed.set()
        self.on_message = self.count
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0 if clean_start else EXPIRY_S
        self.connect(*server.address, keepalive=60, clean_start=clean_start, properties=properties)
        self.loop_start()
        assert self.is_up.wait(START_S), f"{name}: no connection"

    def count(self, *_):
        self.came += 1

    def watch(self, topic):
        self.subscribed.clear()
        self.subscribe(topic, 1)
        assert self.subscribed.wait(START_S), "no answer to SUBSCRIBE"

    def publish_all(self, topics, retain):
        """Publishes a message to each, if there is any, and waits for the last acknowledgement."""
        told = None
        for at, topic in enumerate(topics):
            told = self.publish(topic, PAYLOAD, 1, retain)
            if at % WINDOW == WINDOW - 1:
                told.wait_for_publish(SETTLE_S)
        if told:
            told.wait_for_publish(SETTLE_S)
            assert told.is_published(), "a message is not acknowledged"

    def await_messages(self, count):
        end = time.monotonic() + SETTLE_S
        while self.came < count and time.monotonic() < end:
            time.sleep(0.05)
        return self.came

    def leave(self):
        self.disconnect()
        self.loop_stop()


def resident_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("the server is gone")


def bytes_below(folder):
    return sum(file.stat().st_size for file in pathlib.Path(folder).rglob("*") if file.is_file())


def fill(server, chosen):
    for at in range(chosen.sessions):
        client = Client(server, f"away-{at}")
        client.watch("all")
        client.leave()
        if at % 100 == 99:
            progress(f"{at + 1} of {chosen.sessions} sessions")
    publisher = Client(server, "publisher", clean_start=True)
    progress(f"{chosen.messages} messages to each")
    publisher.publish_all(["all"] * chosen.messages, retain=False)
    progress(f"{chosen.retained} retained values")
    publisher.publish_all((f"values/{at}" for at in range(chosen.retained)), retain=True)
    publisher.leave()
    progress("")


def check(server, chosen):
    for at in range(min(COUNTED, chosen.sessions)):
        client = Client(server, f"away-{at}")
        came = client.await_messages(chosen.messages)
        assert came == chosen.messages, f"away-{at} got {came} of {chosen.messages}"
        client.leave()
    client = Client(server, "reader", clean_start=True)
    client.watch("values/#")
    came = client.await_messages(chosen.retained)
    assert came == chosen.retained, f"{came} of {chosen.retained} values are there"
    client.leave()


def measure(chosen, folder):
    server = Server(chosen.binary, folder, SETTINGS)
    try:
        empty = resident_mb(server.process.pid)
        fill(server, chosen)
        full = resident_mb(server.process.pid)
        server.kill()
        begin = time.monotonic()
        server.start()
        seconds = time.monotonic() - begin
        again = resident_mb(server.process.pid)
        check(server, chosen)
    finally:
        server.close()
    print(f"{chosen.retained} retained values, {chosen.sessions} sessions away with {chosen.messages} messages each, {len(PAYLOAD)} bytes a message")
    print(f"  ready again after {seconds:.2f} s")
    print(f"  resident memory: {empty:.1f} MB empty, {full:.1f} MB before SIGKILL, {again:.1f} MB when ready again")
    print(f"  on disk: {bytes_below(pathlib.Path(folder) / 'data') / 1e6:.1f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the trunkline program")
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=100, help="that wait for each session")
    parser.add_argument("--retained", type=int, default=100_000, help="values")
    with tempfile.TemporaryDirectory() as folder:
        measure(parser.parse_args(), folder)


if __name__ == "__main__":
    main()
