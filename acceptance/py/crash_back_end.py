"""A back end for webhooks whose ways are bad on purpose, to be killed: `crash_webhooks.py` starts it and says how it is to be.

    python -m py.crash_back_end PORT SECRET CONCURRENCY SEED

Written with the standard library alone, but for `standardwebhooks`, which verifies what comes. What comes is told on standard output, a
line of JSON each, before it is answered: a line that was written is there even if the process is killed in the next moment. A line on
standard input is the name of a way, and is told when it holds:

    well       lets everybody in, answers with the first argument
    slow       answers after 10 s, which is longer than anybody waits
    garbage    answers what is no answer: half an object, an object of something else, no HTTP at all
    redirect   sends everybody somewhere else on this port, where nobody may come
    half       half of the time as `well`, else 500
"""

import http.server
import json
import os
import random
import select
import socket
import sys
import threading
import time

from standardwebhooks import Webhook

SLOW_S = 10
GARBAGE = [b'{"result":', b'{"result":{"user":"ada"},"error":{}}', b"[1]", b"<html>It works!</html>", b'{"nonsense":1}']


class BackEnd(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100

    def __init__(self, port, secret, concurrency, seed):
        super().__init__(("127.0.0.1", port), Handler, bind_and_activate=False)
        # Whoever started it holds the port by a socket that does not listen, for the time when it is not there.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.server_bind()
        self.server_activate()
        self.secret, self.concurrency, self.chance = Webhook(secret), concurrency, random.Random(seed)
        self.way = "well"
        # Under way, by path; and the most that ever were to one, none of which had gone.
        self.busy, self.most, self.lock = {}, 0, threading.Lock()

    def handle_error(self, *_):
        """A caller that gave up is not there for its answer."""

    def begin(self, path, connection):
        with self.lock:
            self.busy.setdefault(path, set()).add(connection)
            if len(self.busy[path]) <= self.most:
                return
        count = self.waiting(path)
        if count > self.concurrency:
            tell(fault=f"{count} requests are under way to {path}")
        self.most = max(self.most, count)

    def end(self, path, connection):
        """Before the answer leaves: whoever has it may send the next request."""
        with self.lock:
            self.busy[path].discard(connection)

    def waiting(self, path):
        """Requests under way whose callers are there."""
        with self.lock:
            return sum(not is_gone(connection) for connection in self.busy[path])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.close_connection = True
        if self.path not in ("/app", "/queued", "/phones"):
            return tell(fault=f"a request to {self.path}")
        try:
            self.server.secret.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except Exception as error:  # whatever the library does not like
            return tell(fault=repr(error))
        self.close_connection = False
        self.server.begin(self.path, self.connection)
        try:
            self.answer(json.loads(body))
        finally:
            self.server.end(self.path, self.connection)

    def answer(self, event):
        way = self.server.way
        if way == "slow":
            tell(came=event, taken=False)
            return self.wait_long()
        if way == "garbage":
            return self.garbage(event)
        if way == "redirect":
            tell(came=event, taken=False)
            return self.send(self.server.chance.choice([301, 302, 307, 308]), b"", f"http://{self.headers['host']}/elsewhere")
        if way == "half" and self.server.chance.random() < 0.5:
            tell(came=event, taken=False)
            return self.send(500, b"no")
        # Long enough for others to come meanwhile.
        time.sleep(self.server.chance.uniform(0, 0.01))
        tell(came=event, taken=True)
        if event["type"] == "trunkline.session.connect":
            return self.send(200, b'{"result":{"user":"ada"},"state":"kept"}')
        if event.get("ackrequested"):
            return self.send(200, json.dumps({"result": event["data"][:1]}).encode())
        return self.send(204, b"")

    def garbage(self, event):
        if self.server.chance.random() < 0.3:
            tell(came=event, taken=False)
            self.close_connection = True
            self.server.end(self.path, self.connection)
            return self.wfile.write(b"\x00\xffSMTP ready\r\n\r\n")
        # Whoever is only told of something hears by the status that it was heard.
        is_told = event["type"] != "trunkline.session.connect" and not event.get("ackrequested")
        tell(came=event, taken=is_told)
        return self.send(200, self.server.chance.choice(GARBAGE))

    def wait_long(self):
        """Until nobody waits any more, or for a very long time."""
        select.select([self.connection], [], [], SLOW_S)
        if not is_gone(self.connection):
            self.send(204, b"")

    def send(self, status, body, location=None):
        self.server.end(self.path, self.connection)
        self.send_response(status)
        if location:
            self.send_header("location", location)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def is_gone(connection):
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def tell(**line):
    """At once, and whole: less than a pipe takes in one piece."""
    os.write(1, json.dumps(line).encode() + b"\n")


def main():
    port, secret, concurrency, seed = sys.argv[1:]
    back_end = BackEnd(int(port), secret, int(concurrency), int(seed))
    threading.Thread(target=back_end.serve_forever, daemon=True).start()
    tell(way="well")
    for line in sys.stdin:
        back_end.way = line.strip()
        tell(way=back_end.way)


if __name__ == "__main__":
    main()
