"""The back end of the chat: an ordinary web application of Python's standard library. It may be restarted at any time.

    pip install standardwebhooks
    python3 back_end.py

Trunkline asks it what becomes of each event that a client sends (POST /hook) and does what the answer says.
"""

import argparse
import http.server
import json
import pathlib
import tomllib
import urllib.request

from standardwebhooks import Webhook, WebhookVerificationError

CHANNEL = "chat/tea"
TEXT_MAX = 500
CONFIG = pathlib.Path(__file__).with_name("trunkline.toml")


def publish(event, data):
    """An action of an answer, and the body of a request to REST."""
    return {"channel": CHANNEL, "event": event, "data": data}


def error(code, message):
    """The client's acknowledgement is this error."""
    return {"error": {"code": code, "message": message}}


def joined(name):
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= 20:
        return error("name", "A name has 1 to 20 characters.")
    # Trunkline keeps the name and sends it along with all that this session does: nothing has to be remembered here.
    return {"state": name.strip(), "actions": [{"publish": publish("notice", {"text": f"{name.strip()} is here"})}]}


def said(name, text):
    if not name:
        return error("join", "Join first.")
    if not isinstance(text, str) or not 1 <= len(text.strip()) <= TEXT_MAX:
        return error("text", f"A message has 1 to {TEXT_MAX} characters.")
    return {"actions": [{"publish": publish("said", {"from": name, "text": text.strip()})}]}


def answered(event):
    """What a client sent and waits for."""
    value = (event["data"] or [None])[0]
    if event["event"] == "join":
        return joined(value)
    if event["event"] == "say":
        return said(event.get("state"), value)
    return error("unknown", f"Nobody knows {event['event']}.")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            self.server.webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except WebhookVerificationError:
            return self.answer(400, {})
        event = json.loads(body)
        if event["type"] == "trunkline.session.disconnected":
            if event.get("state"):
                self.tell(event["id"], publish("notice", {"text": f"{event['state']} has left"}))
            return self.answer(200, {})
        self.answer(200, answered(event))

    def tell(self, event_id, message):
        """Publishes by REST, once, however often we are told of the same."""
        headers = {"content-type": "application/json", "idempotency-key": f'"{event_id}"'}
        request = urllib.request.Request(f"{self.server.trunkline}/v1/messages", json.dumps(message).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            print(f"{message['data']['text']}, {json.load(response)['results'][0]['delivered']} saw it", flush=True)

    def answer(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--port", type=int, default=3000)
    arguments.add_argument("--trunkline", default="http://127.0.0.1:9000", help="its private port")
    given = arguments.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
    server.webhook = Webhook(tomllib.loads(CONFIG.read_text())["webhook"][0]["secrets"][0])
    server.trunkline = given.trunkline
    print(f"webhooks on http://127.0.0.1:{server.server_address[1]}/hook", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
