"""paho-mqtt clients for lib/mqtt-clients.mjs: a JSON object per line on standard input, answers on standard output.

{"call": N, "op": "subscribe" | "publish" | "die" | "stop", "host", "port", "client_id", "version": 3 | 4 | 5, ...} is answered by
{"call": N} or {"call": N, "error": text}; a message by {"subscriber": N of its subscribe, "topic", "payload", "qos", "retain", "expiry"}.
"""

import json
import socket
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WAIT_S = 60
output = threading.Lock()
subscribers = {}


def say(**words):
    with output:
        print(json.dumps(words), flush=True)


def connected(ask, will=None):
    """A client whose CONNACK has come."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, ask["client_id"], protocol=ask["version"], reconnect_on_failure=False)
    if will:
        client.will_set(will["topic"], will["payload"], will["qos"], will.get("retain", False))
    known, codes = threading.Event(), []

    def on_connect(_client, _userdata, _flags, code, _properties):
        codes.append(code)
        known.set()

    client.on_connect = on_connect
    client.connect(ask["host"], ask["port"])
    client.loop_start()
    if not known.wait(WAIT_S) or codes[0].is_failure:
        client.loop_stop()
        raise RuntimeError(f"not connected: {codes}")
    return client


def subscribe(ask):
    client = connected(ask)
    granted = threading.Event()

    def on_message(_client, _userdata, message):
        expiry = getattr(message.properties, "MessageExpiryInterval", None) if message.properties else None
        say(subscriber=ask["call"], topic=message.topic, payload=message.payload.decode(), qos=message.qos, retain=message.retain, expiry=expiry)

    client.on_message = on_message
    client.on_subscribe = lambda *_: granted.set()
    client.subscribe(ask["filter"], ask["qos"])
    if not granted.wait(WAIT_S):
        raise RuntimeError("no SUBACK")
    subscribers[ask["call"]] = client


def publish(ask):
    client = connected(ask)
    properties = None
    if ask.get("expiry"):
        properties = Properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = ask["expiry"]
    client.publish(ask["topic"], ask["payload"], ask["qos"], ask.get("retain", False), properties).wait_for_publish(WAIT_S)
    leave(client)


def die(ask):
    client = connected(ask, ask["will"])
    # Closing would wait for its thread's next second.
    client.socket().shutdown(socket.SHUT_RDWR)


def stop(ask):
    leave(subscribers.pop(ask["subscriber"]))


def leave(client):
    client.disconnect()
    client.loop_stop()


OPERATIONS = {"subscribe": subscribe, "publish": publish, "die": die, "stop": stop}


def serve(ask):
    try:
        OPERATIONS[ask["op"]](ask)
        say(call=ask["call"])
    except Exception as error:  # noqa: BLE001 - the test that asked reports it
        say(call=ask["call"], error=repr(error))


for line in sys.stdin:
    threading.Thread(target=serve, args=(json.loads(line),), daemon=True).start()
