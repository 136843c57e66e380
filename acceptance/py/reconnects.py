"""Very many clients come back at once to a server that was killed, and a back end hears of each.

    python -m py.reconnects --binary ../target/release/trunkline --clients 5000 --within 1s

The clients are those of `trunkline bench avalanche`: all of them lose their connection by SIGKILL and come back within a second. The back end,
`trunkline bench back-end`, is asked about each and told of each that comes, goes and is gone, and writes down what it hears. In the end no more
requests were under way than the configuration has, everything came in order, each connection has its end, and nobody is held for connected
who is not there. It also says how fast that was.
"""

import argparse
import bisect
import collections
import datetime
import http.server
import json
import pathlib
import re
import subprocess
import tempfile
import threading
import time

import requests

from .crash_ledger import Ledger
from .crash_webhooks import SECRET, dead_letters
from .killed import END_S, Server

CONCURRENCY = 64
SETTLE_S = 600
CONFIG = """
[auth]
mode = "back_end"
[[webhook]]
name = "app"
url = "{url}"
secrets = ["{secret}"]
types = ["session.connect", "session.connected", "session.disconnected", "session.ended"]
concurrency = {concurrency}
"""
SETTINGS = ["server.drain_window_ms=0"]


class BackEnd:
    """`trunkline bench back-end`, and what it has written down so far."""

    def __init__(self, binary, folder, answer_after):
        path = pathlib.Path(folder) / "heard.ndjson"
        command = [binary, "bench", "back-end", "--listen", "127.0.0.1:0", "--record", path, "--answer-after", answer_after]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1]
        self.file, self.rest = open(path), ""

    def heard(self):
        """What was written since the last time."""
        *lines, self.rest = (self.rest + self.file.read()).split("\n")
        return [json.loads(line) for line in lines]

    def end(self):
        """How many events it says it heard, and the most requests under way."""
        self.process.terminate()
        told, _ = self.process.communicate(timeout=END_S)
        events, most = re.fullmatch(r"(\d+) events heard, at most (\d+) requests under way at a time\n", told).groups()
        return int(events), int(most)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.file.close()


class Restarts(http.server.HTTPServer):
    """Kills the server and starts it again whenever it is asked to; when that is done it answers with the new process."""

    def __init__(self, server):
        super().__init__(("127.0.0.1", 0), Restart)
        self.server, self.killed, self.ready = server, None, None
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Restart(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.server.kill()
        self.server.killed = time.time() * 1000
        self.server.server.start()
        self.server.ready = time.time() * 1000
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


def wait_told(server, back_end, ledger):
    """Until nothing waits to be told and nobody is held for connected; all that was heard. What was heard is not looked at before, since
    that takes processor time of those who are measured."""
    heard, end = [], time.monotonic() + SETTLE_S
    while True:
        (waits,) = requests.get(f"http://{server.private}/v1/webhooks", timeout=10).json()["items"]
        if not any(waits[what] for what in ("queued", "busy", "waiting")):
            for line in (more := back_end.heard()):
                ledger.came(line["event"], taken=True)
            heard += more
            assert not ledger.faults, f"{len(ledger.faults)} faults: {ledger.faults[:5]}"
            if heard and not more and not ledger.online():
                return heard
        assert time.monotonic() < end, f"{len(ledger.online())} of {len(ledger.connected)} are held for connected, {waits} wait"
        time.sleep(0.2)


def check_ends(events):
    """Each connection that was told has its end, and each session one that is the last that was told of it."""
    stories, ids = collections.defaultdict(list), set()
    for event in events:
        kind = event["type"].removeprefix("trunkline.session.")
        if kind != "connect" and event["id"] not in ids:
            ids.add(event["id"])
            stories[event["sessionid"]].append((kind, event["generation"]))
    for session, story in stories.items():
        of = {what: [generation for kind, generation in story if kind == what] for what in ("connected", "disconnected", "ended")}
        # In the moment of the crash a disconnect may be told alone, or twice.
        assert set(of["connected"]) <= set(of["disconnected"]), f"a connection without its end in {session}: {story}"
        assert len(of["connected"]) == len(set(of["connected"])), f"a connection that was told twice in {session}: {story}"
        assert of["ended"] and story[-1][0] == "ended", f"{session} has not ended: {story}"
        generations = [generation for _, generation in story]
        assert generations == sorted(generations), f"generations fall in {session}: {story}"
    return len(stories)


def rate(times):
    """Most of them within any second."""
    times = sorted(times)
    return max(bisect.bisect_left(times, at + 1000) - place for place, at in enumerate(times))


def at_ms(event):
    return datetime.datetime.fromisoformat(event["time"]).timestamp() * 1000


def measured(heard, restarts, clients):
    """What happened from the kill until the first client left; times are since the server was there again."""
    # Of those before some may be told only now.
    heard = [one for one in (line | {"at_ms": at_ms(line["event"])} for line in heard) if one["at_ms"] >= restarts.killed]
    kinds = collections.defaultdict(list)
    for line in heard:
        kinds[line["event"]["type"].removeprefix("trunkline.session.")].append(line)
    left = min(line["at_ms"] for line in kinds["disconnected"] if line["event"]["data"]["cause"] != "restart")
    let_in = sorted(line["at_ms"] for line in kinds["connected"])[:clients]
    told = [line["heard_ms"] for line in heard if line["at_ms"] < left]
    return [
        f"of those that came back {rate(let_in)} were let in within a second, the last {(let_in[-1] - restarts.ready) / 1000:.2f} s after the restart",
        f"{len(told)} events until then, {rate(told)} within a second, the last {(max(told) - restarts.ready) / 1000:.2f} s after the restart",
    ]


def run(binary, clients, within, folder, answer_after="0ms"):
    """What is told when nothing is wrong, and the report of bench."""
    ledger, server, restarts = Ledger(), None, None
    back_end = BackEnd(binary, folder, answer_after)
    try:
        config = CONFIG.format(url=back_end.url, secret=SECRET, concurrency=CONCURRENCY)
        server = Server(binary, folder, SETTINGS, config, word="serve")
        restarts = Restarts(server)
        report = avalanche(binary, server, restarts, clients, within)
        left = time.time() * 1000
        heard = wait_told(server, back_end, ledger)
        assert not (dead := dead_letters(server, ["app"])), f"dead letters: {dead[:3]}"
        events, most = back_end.end()
        assert events == len(heard), f"{events} events were heard, {len(heard)} written down"
        assert most <= CONCURRENCY, f"{most} requests were under way, of {CONCURRENCY}"
        sessions = check_ends([line["event"] for line in heard])
        due = clients + report["figures"]["returned"]
        assert len(ledger.connected) >= due, f"of {due} connections {len(ledger.connected)} were told"
        late = (heard[-1]["heard_ms"] - left) / 1000
        told = [f"{events} events heard, {ledger.again} of them again, the last {late:.1f} s after the last client left"]
        told += [f"{sessions} sessions came and went", f"at most {most} requests under way"]
        return "\n".join(told + measured(heard, restarts, clients)), report
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
    parser.add_argument("--answer-after", default="0ms", help="how long each request waits for the back end")
    parser.add_argument("--report", type=pathlib.Path, help="file for the report of bench")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told, report = run(chosen.binary, chosen.clients, chosen.within, folder, chosen.answer_after)
    if chosen.report:
        chosen.report.write_text(json.dumps(report))
    print(told)


if __name__ == "__main__":
    main()
