"""Nothing that is secret, and no session, is in the log or the metrics, whatever is logged: tokens, keys, passwords, secrets of webhooks."""

import json
import os
import tempfile
import time
import unittest

import jwt
import requests
import socketio
from paho.mqtt import client as mqtt

from .killed import Server
from .sut import BINARY, WAIT_S, eventually, ours
from .test_webhooks import NEW, OLD, TYPES, BackEnd


def secret(name):
    """Text that is nowhere else."""
    return f"{name}{os.urandom(16).hex()}"


SIGNING, PRIVATE, WRONG, BEARER, QUERY, PASSWORD = (secret(name) for name in ("signing", "private", "wrong", "bearer", "query", "password"))
CONFIG = f"""
[log]
filter = "trace"
[private]
keys = ["{PRIVATE}"]
[auth]
mode = "{{mode}}"
{{jwt}}
[[socketio.namespace]]
name = "/"
recovery = "always"
[[mqtt.user]]
name = "bob"
password = "{PASSWORD}"
[[webhook]]
name = "app"
url = "http://127.0.0.1:{{port}}/app?key={QUERY}"
secrets = ["{OLD}", "{NEW}"]
bearer = "{BEARER}"
types = {{types}}
retry_ms_min = 20
breaker_pause_ms = 20
"""
JWT = f"""
[auth.jwt]
secret = "{SIGNING}"
cookie = "session"
"""


class Client(socketio.Client):
    """Notes what it is told of itself."""

    def _handle_connect(self, namespace, data):
        self.told = data
        super()._handle_connect(namespace, data)


@ours
class Secrets(unittest.TestCase):
    def start(self, mode):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.back_end = BackEnd()
        self.addCleanup(self.back_end.close)
        types = [kind for kind in TYPES if mode == "back_end" or kind != "session.connect"]
        port = self.back_end.server_address[1]
        config = CONFIG.format(mode=mode, jwt=JWT if mode == "jwt" else "", port=port, types=json.dumps(types))
        self.server = Server(BINARY, folder.name, ["server.drain_window_ms=0"], config, word="serve")
        self.addCleanup(self.server.close)
        self.url, self.private = f"http://{self.server.public}", f"http://{self.server.private}"
        self.hidden = {"signing": SIGNING, "private": PRIVATE, "wrong key": WRONG, "bearer": BEARER, "query": QUERY, "password": PASSWORD}
        self.hidden |= {"old": OLD.removeprefix("whsec_"), "new": NEW.removeprefix("whsec_")}

    def token(self, **claims):
        """A token, which is hidden from now on, and so is its signature alone."""
        made = jwt.encode({"sub": "ada", "exp": int(time.time()) + 600, **claims}, SIGNING, algorithm="HS256")
        self.hidden |= {f"token {len(self.hidden)}": made, f"signature {len(self.hidden)}": made.rsplit(".", 1)[1]}
        return made

    def visit(self, auth, transports, headers=()):
        """A client of Socket.IO that does what clients do; its ids are hidden."""
        client = Client(reconnection=False)
        self.addCleanup(client.disconnect)
        client.connect(self.url, auth=auth, transports=transports, headers=dict(headers), wait_timeout=WAIT_S)
        name = len(self.hidden)
        self.hidden |= {f"session {name}": client.told["sid"], f"recovery {name}": client.told["pid"], f"connection {name}": client.eio.sid}
        self.assertEqual(client.call("say", "hi", timeout=WAIT_S), ["hi"])
        client.emit("say", "hi")
        return client

    def mqtt(self, user, password):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"phone-{user}", protocol=mqtt.MQTTv5)
        codes = []
        client.on_connect = lambda *told: codes.append(told[3].value)
        client.username_pw_set(user, password)
        client.connect(*self.server.address)
        client.loop_start()
        self.addCleanup(client.loop_stop)
        self.addCleanup(client.disconnect)
        eventually(lambda: codes, "CONNACK")

    def rest(self):
        """What the back end asks for; ids of all sessions that it is told are hidden."""
        key = {"authorization": f"Bearer {PRIVATE}"}
        wrong = {"authorization": f"Bearer {WRONG}"}
        self.assertEqual(requests.get(f"{self.private}/v1/sessions", headers=wrong, timeout=WAIT_S).status_code, 401)
        sessions = requests.get(f"{self.private}/v1/sessions", headers=key, timeout=WAIT_S).json()["items"]
        self.hidden |= {f"listed {at}": session["id"] for at, session in enumerate(sessions)}
        self.assertGreater(len(sessions), 1)
        first = sessions[0]["id"]
        for path in (f"/v1/sessions/{first}", f"/v1/deliveries?key={QUERY}", "/v1/webhooks", f"/v1/sessions/{first}/nothing"):
            requests.get(f"{self.private}{path}", headers=key, timeout=WAIT_S)
        body = {"channel": f"$client/{first}", "event": "say", "data": "hi"}
        requests.post(f"{self.private}/v1/messages", json=body, headers=key, timeout=WAIT_S).raise_for_status()
        return key

    def check(self, key):
        """The back end goes away, clients come to grief, and the server is killed and started again; then all is looked through."""
        self.back_end.close()
        self.server.kill()
        self.server.start()
        # It tells of the sessions that are gone.
        eventually(lambda: "gives no answer" in self.server.told(), "a warning")
        for client in self.clients:
            client.disconnect()
        metrics = requests.get(f"http://{self.server.private}/metrics", headers=key, timeout=WAIT_S).text
        self.server.end()
        texts = {"log": self.server.told(), "metrics": metrics}
        self.assertIn("trunkline_webhook", metrics)
        self.assertIn("TRACE", texts["log"], "everything is logged")
        for name, hidden in self.hidden.items():
            for place, text in texts.items():
                line = next((line for line in text.splitlines() if hidden in line), None)
                self.assertIsNone(line, f"{name} is in the {place}")

    def test_tokens(self):
        self.start("jwt")
        self.clients = [
            self.visit({"token": self.token()}, ["websocket"]),
            self.visit({"token": self.token()}, ["polling", "websocket"]),
            self.visit(None, ["websocket"], {"Authorization": f"Bearer {self.token()}"}),
            self.visit(None, ["polling"], {"Cookie": f"session={self.token()}"}),
        ]
        with self.assertRaises(socketio.exceptions.ConnectionError):
            self.visit({"token": self.token(exp=1)}, ["websocket"])
        good = self.token(trunkline={"permissions": [{"filters": ["tea"], "allow": ["subscribe", "publish"]}]})
        with requests.get(f"{self.url}/sse?channel=tea&access_token={good}", timeout=WAIT_S, stream=True) as stream:
            self.assertEqual(stream.status_code, 200)
            published = requests.post(f"{self.url}/publish?channel=tea&access_token={good}", b"hi", timeout=WAIT_S)
            self.assertEqual(published.status_code, 200)
            self.assertIn("data: hi", iter(stream.iter_lines(decode_unicode=True)))
        for token in (good, self.token(), self.token(exp=1), self.token(trunkline={"permissions": 7})):
            self.mqtt("anybody", token)
            for path in ("sse", "ndjson", "poll", "publish", "socket.io/", "nowhere"):
                requests.post(f"{self.url}/{path}?channel=tea&access_token={token}", b"x", timeout=WAIT_S, stream=True).close()
                requests.get(f"{self.url}/{path}?channel=tea&wait=0&access_token={token}", timeout=WAIT_S, stream=True).close()
        self.mqtt("bob", PASSWORD)
        self.check(self.rest())

    def test_a_back_end_that_is_asked(self):
        self.start("back_end")
        self.hidden["auth"] = secret("auth")
        self.clients = [self.visit({"token": self.hidden["auth"]}, ["websocket"]), self.visit({"token": self.hidden["auth"]}, ["polling"])]
        self.mqtt("bob", PASSWORD)
        self.misbehave()
        self.check(self.rest())

    def misbehave(self):
        """The back end says of a client what it may not say of any, and the log tells."""
        for wrong in (
            lambda session: {"result": {"subscriptions": [f"$client/{session}"]}},
            lambda session: {"actions": [{"subscribe": {"channel": f"$client/{session}"}}]},
        ):

            def answer(event, wrong=wrong):
                session = event.get_attributes()["sessionid"]
                self.hidden[f"misbehaved {len(self.hidden)}"] = session
                return 200, wrong(session)

            well, self.back_end.on_connect = self.back_end.on_connect, answer
            answered = requests.get(f"{self.url}/ndjson?channel=tea", timeout=WAIT_S, stream=True)
            answered.close()
            self.back_end.on_connect = well
            self.assertEqual(answered.status_code, 503)


if __name__ == "__main__":
    unittest.main()
