"""Very many clients come back at once to a server that was killed, and a back end that is slower than they are hears of each.

    python -m py.reconnects --binary ../target/release/trunkline --clients 5000 --within 1s

The clients are those of `trunkline bench avalanche`: all of them lose their connection by SIGKILL and come back within a second. The back end,
`crash_back_end.py`, is asked about each and told of each that comes, goes and is gone. In the end no more requests were under way than
the configuration has, everything came in order, and nobody is held for connected who is not there.
"""

import argparse
import http.server
import json
import pathlib
import random
import subprocess
import tempfile
import threading
import time

from .crash_ledger import Ledger
from .crash_webhooks import SECRET, BackEnd, dead_letters
from .killed import Server

CONCURRENCY = 64
SETTLE_S = 600
CONFIG = """
[auth]
mode = "back_end"
[[webhook]]
name = "app"
url = "http://127.0.0.1:{port}/app"
secrets = ["{secret}"]
types = ["session.connect", "session.connected", "session.disconnected", "session.ended"]
concurrency = {concurrency}
"""
SETTINGS = ["server.drain_window_ms=0"]


class Restarts(http.server.HTTPServer):
    """Kills the server and starts it again whenever it is asked to; when that is done it answers with the new process."""

    def __init__(self, server):
        super().__init__(("127.0.0.1", 0), Restart)
        self.server, self.held = server, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Restart(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.held.append(len(self.server.ledger.online()))
        self.server.server.kill()
        self.server.server.start()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.server.server.process.pid}\n".encode())

    def log_message(self, *_):
        pass


def avalanche(binary, server, restarts, clients, within):
    """What the clients have to tell, as bench does."""
    address = "http://{}:{}".format(*server.address)
    restart = f"curl -sS --fail http://127.0.0.1:{restarts.server_address[1]}/"
    command = [binary, "bench", "avalanche", "--connections", str(clients), "--return-after", f"0s..{within}", "--recovery", "off"]
    command += ["--restart-command", restart, "--target", address, "--publish-url", f"http://{server.private}", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, f"bench ended with {done.returncode}: {done.stderr[-2000:]} {done.stdout[-2000:]}"
    return json.loads(done.stdout)


def wait_quiet(ledger):
    """Until nobody is held for connected; how many were told of then."""
    end = time.monotonic() + SETTLE_S
    while (online := ledger.online()) or not ledger.connected:
        assert not ledger.faults, f"{len(ledger.faults)} faults: {ledger.faults[:5]}"
        assert time.monotonic() < end, f"{len(online)} of {len(ledger.connected)} are held for connected"
        time.sleep(0.1)


def run(binary, clients, within, folder):
    """What is told when nothing is wrong."""
    ledger = Ledger()
    back_end = BackEnd(ledger, random.Random(1), CONCURRENCY)
    server = restarts = None
    try:
        server = Server(binary, folder, SETTINGS, CONFIG.format(port=back_end.port, secret=SECRET, concurrency=CONCURRENCY), word="serve")
        restarts = Restarts(server)
        restarts.ledger = ledger
        begun = time.monotonic()
        report = avalanche(binary, server, restarts, clients, within)
        left = time.monotonic()
        wait_quiet(ledger)
        assert not ledger.faults, f"{len(ledger.faults)} faults: {ledger.faults[:5]}"
        assert len(ledger.connected) >= 2 * clients, f"only {len(ledger.connected)} connections of {clients} clients were told"
        assert not (dead := dead_letters(server, ["app"])), f"dead letters: {dead[:3]}"
        now = time.monotonic()
        told = f"{len(ledger.taken)} events heard in {now - begun:.0f} s, the last {now - left:.0f} s after the last client left, {ledger.again} again; "
        return told + f"{len(ledger.connected)} sessions came and went, at most {back_end.most} requests under way", report
    finally:
        if restarts:
            restarts.shutdown()
            restarts.server_close()
        back_end.close()
        if server:
            server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the trunkline program")
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--within", default="1s", help="time in which all of them come back")
    parser.add_argument("--report", type=pathlib.Path, help="file for the report of bench")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told, report = run(chosen.binary, chosen.clients, chosen.within, folder)
    if chosen.report:
        chosen.report.write_text(json.dumps(report))
    print(told)


if __name__ == "__main__":
    main()
