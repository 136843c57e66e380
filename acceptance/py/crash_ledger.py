"""What a back end has heard, and what is wrong with it: order, generations, and who was let in."""

import collections
import threading


class Ledger:
    """What the back end has heard."""

    def __init__(self):
        self.lock, self.faults = threading.Lock(), []
        self.arrived, self.taken = set(), set()
        # Of each session: the last place, the newest connection that was told and the newest that ended, and what it sent.
        self.places, self.connected, self.lost = {}, {}, {}
        # The connection of each session of which the end alone was told, since it had only begun when the server was killed.
        self.coming = {}
        self.welcome, self.sent = set(), collections.defaultdict(set)
        # The newest session of each client of MQTT.
        self.named = {}
        self.again = 0
        # The latest that was told of each session, for people.
        self.stories = collections.defaultdict(lambda: collections.deque(maxlen=8))

    def came(self, event, taken):
        # A client of MQTT has no session before it is let in.
        kind, session = event["type"].removeprefix("trunkline."), event.get("sessionid", event.get("clientid"))
        is_asked = kind == "session.connect" or event.get("ackrequested", False)
        with self.lock:
            if event["id"] not in self.arrived and not is_asked:
                self.in_order(session, kind, event)
            self.arrived.add(event["id"])
            if not taken:
                return
            self.again += event["id"] in self.taken
            if event["id"] not in self.taken:
                self.taken.add(event["id"])
                self.take(session, kind, event)

    def in_order(self, session, kind, event):
        """Of what a session did only what is told is in order: what is asked about may pass it."""
        place = event["sequence"]
        self.stories[session].append(f"{kind.removeprefix('session.')} {event['generation']} {int(place) & 0xffffffff} {event['data']}")
        if self.places.get(session, "") >= place:
            self.faults.append(f"out of order in {session}: {self.stories[session]}")
        self.places[session] = place
        # Of whom was being let in when the server was killed it may hear the end alone; nobody has told that client of it.
        was_coming = kind in ("session.disconnected", "session.ended") and event["data"]["cause"] == "restart"
        if was_coming:
            self.coming[session] = event["generation"]
        known = max(self.connected.get(session, 0), self.coming.get(session, 0))
        if kind != "session.connected" and event["generation"] > known:
            self.faults.append(f"{kind} came before its connection in {session}: {self.stories[session]}")
        if kind == "session.connected" and session not in self.welcome and event.get("clientid") not in self.welcome:
            self.faults.append(f"{session} was let in without a yes")

    def take(self, session, kind, event):
        if kind == "session.connect":
            self.welcome.add(session)
        elif kind == "session.connected":
            self.connected[session] = max(self.connected.get(session, 0), event["generation"])
            if "clientid" in event:
                # Between sessions there is no order.
                self.named[event["clientid"]] = max(self.named.get(event["clientid"], ("", "")), (event["time"], session))
        elif kind in ("session.disconnected", "session.ended"):
            self.lost[session] = max(self.lost.get(session, 0), event["generation"])
        else:
            self.sent[session].update(event["data"])

    def online(self):
        with self.lock:
            return {session for session, newest in self.connected.items() if newest > self.lost.get(session, 0)}

    def has(self, session, payloads):
        with self.lock:
            return session in self.connected and payloads <= self.sent[session]
