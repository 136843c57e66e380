"""A few rounds of `crash`: the server is killed while clients of MQTT and Socket.IO work."""

import datetime
import json
import random
import socket
import tempfile
import unittest
import unittest.mock

import requests
from standardwebhooks import Webhook

from . import crash, crash_ledger, crash_webhooks, reconnects
from .sut import BINARY, eventually, ours

ROUNDS = 3


class HistoryCheck(unittest.TestCase):
    """What the check of a history would find."""

    def kept(self, numbers, first=1):
        return [(f"a:{number}", f"e-{first + at}") for at, number in enumerate(numbers)]

    def acknowledged(self, count):
        return [f"a:{number}" for number in range(count)]

    def refuses(self, kept, acknowledged):
        with self.assertRaises(AssertionError):
            crash.check_history(kept, acknowledged)

    def test_what_is_right(self):
        crash.check_history(self.kept(range(9)), self.acknowledged(8))
        most = crash.HISTORY_MAX
        crash.check_history(self.kept(range(5, most + 5), 6), self.acknowledged(most + 5))

    def test_a_message_that_is_missing(self):
        self.refuses(self.kept(range(7)), self.acknowledged(8))
        self.refuses(self.kept([0, 1, 3]), self.acknowledged(4))
        most = crash.HISTORY_MAX
        self.refuses(self.kept([*range(5, 20), *range(21, most + 6)], 6), self.acknowledged(most + 6))
        self.refuses(self.kept(range(most)), self.acknowledged(most + 1))

    def test_a_hole_a_double_and_a_wrong_order(self):
        hole = [*self.kept([0, 1]), ("a:2", "e-4")]
        self.refuses(hole, self.acknowledged(3))
        epochs = [*self.kept([0, 1]), ("a:2", "f-3")]
        self.refuses(epochs, self.acknowledged(3))
        self.refuses(self.kept([0, 1, 1]), self.acknowledged(2))
        self.refuses(self.kept([0, 2, 1]), self.acknowledged(3))


class LedgerCheck(unittest.TestCase):
    """What the ledger of a back end would find."""

    def setUp(self):
        self.ledger = crash_ledger.Ledger()

    def came(self, kind, place, generation=1, taken=True, **more):
        event = {"id": f"{generation}-{place}", "type": f"trunkline.session.{kind}", "sessionid": "s", "generation": generation}
        self.ledger.came(event | {"sequence": f"{generation}{place:020}", "data": [f"d{place}"]} | more, taken)

    def welcome(self):
        self.came("connect", 1)
        self.came("connected", 2)

    def test_what_is_right(self):
        self.welcome()
        self.assertEqual(self.ledger.online(), {"s"})
        self.came("event", 3, taken=False)
        self.assertFalse(self.ledger.has("s", {"d3"}), "it was not taken")
        self.came("event", 3)
        self.came("event", 5)
        self.came("event", 4, ackrequested=True)
        # Once more, since the server was killed before it noted that this was heard.
        self.came("event", 3)
        self.came("disconnected", 6, data={"cause": "client"})
        self.assertTrue(self.ledger.has("s", {"d3", "d4", "d5"}))
        self.assertEqual((self.ledger.online(), self.ledger.again), (set(), 1))
        self.came("connected", 1, generation=2)
        self.came("disconnected", 6, data={"cause": "client"})
        self.assertEqual((self.ledger.online(), self.ledger.faults), ({"s"}, []))

    def test_a_wrong_order(self):
        self.welcome()
        self.came("event", 4)
        self.came("event", 3)
        self.assertEqual(len(self.ledger.faults), 1)

    def test_an_event_before_its_connection(self):
        self.welcome()
        self.came("event", 3, generation=2)
        self.assertEqual(len(self.ledger.faults), 1)

    def test_an_end_alone_is_right_for_those_who_were_coming_when_the_server_was_killed(self):
        for generation, cause in ((1, "restart"), (2, "client")):
            self.came("disconnected", 1, generation, data={"cause": cause})
        self.assertEqual(len(self.ledger.faults), 1)

    def test_the_end_of_a_session_whose_last_connection_had_only_begun(self):
        self.came("disconnected", 1, data={"cause": "restart"})
        self.came("ended", 2, data={"cause": "taken_over"})
        self.assertEqual(self.ledger.faults, [])

    def test_who_is_let_in_without_a_yes(self):
        self.came("connect", 1, taken=False)
        self.came("connected", 2)
        self.assertEqual(len(self.ledger.faults), 1)


class EndsCheck(unittest.TestCase):
    """What the check of ends would find."""

    def events(self, *told):
        kinds = [one.split() for one in told]
        return [
            {"id": str(place), "type": f"trunkline.session.{kind}", "sessionid": "s", "generation": int(generation)}
            for place, (kind, generation) in enumerate(kinds)
        ]

    def refuses(self, *told):
        with self.assertRaises(AssertionError):
            reconnects.check_ends(self.events(*told))

    def test_what_is_right(self):
        for told in (["connect 1", "connected 1", "disconnected 1", "ended 1"], ["disconnected 1", "ended 1"]):
            self.assertEqual(reconnects.check_ends(self.events(*told)), 1)
        told = self.events("connected 1", "disconnected 1", "connected 2", "disconnected 2", "disconnected 2", "ended 2")
        # One that is heard again was not told twice.
        self.assertEqual(reconnects.check_ends([told[0], *told]), 1)

    def test_what_is_missing_or_told_twice(self):
        self.refuses("connected 1", "ended 1")
        self.refuses("connected 1", "disconnected 1")
        self.refuses("connected 1", "disconnected 1", "connected 2", "ended 2")
        self.refuses("connected 1", "disconnected 1", "ended 1", "disconnected 1")
        self.refuses("connected 1", "connected 1", "disconnected 1", "ended 1")
        self.refuses("connected 2", "disconnected 2", "connected 1", "disconnected 1", "ended 2")

    def test_the_most_within_a_second(self):
        self.assertEqual(reconnects.rate([0, 2500, 600, 1500, 1599, 1600]), 3)


class World(crash_webhooks.World):
    """Without a server."""

    def waiting(self):
        return 0


class Phone:
    """A client of MQTT in its second session, of which the back end hears when it is asked for the second time what is missing."""

    name, is_resting, looks = "p", True, 0

    def __init__(self, ledger):
        self.ledger, self.connection = ledger, self
        self.told(1, "connected", "s1")

    def told(self, second, kind, session):
        event = {"id": f"{session}-{kind}", "type": f"trunkline.session.{kind}", "sessionid": session, "clientid": "p", "generation": 1}
        self.ledger.welcome.add("p")
        self.ledger.came(event | {"time": f"2026-11-28T00:00:0{second}.000Z", "sequence": f"{second}", "data": {"cause": "client"}}, True)

    def is_open(self):
        return True

    @property
    def joined(self):
        return self.ledger.named["p"][1]

    def missing(self):
        self.looks += 1
        if self.looks == 2:
            self.told(2, "disconnected", "s1")
            self.told(3, "connected", "s2")
        return ["s2"] if self.looks == 1 else []

    def forget(self):
        pass


class RoundCheck(unittest.TestCase):
    """What the check of a round would find."""

    def setUp(self):
        self.ledger = crash_ledger.Ledger()
        self.world = World(None, self.ledger)
        self.round = crash_webhooks.Round(self.world, None, None)
        patched = unittest.mock.patch.object(crash_webhooks, "SETTLE_S", 1)
        patched.start()
        self.addCleanup(patched.stop)

    def test_a_session_that_is_heard_of_while_it_waits_is_no_fault(self):
        self.world.clients = [Phone(self.ledger)]
        self.round.check()
        self.assertEqual((self.ledger.faults, self.ledger.online()), ([], {"s2"}))

    def test_who_is_left_online(self):
        phone = Phone(self.ledger)
        self.world.clients, phone.connection = [phone], None
        with self.assertRaisesRegex(AssertionError, "held for connected and gone: {'s2'}"):
            self.round.check()

    def test_what_still_waits_to_be_told(self):
        self.world.clients, self.world.waiting = [Phone(self.ledger)], lambda: 3
        with self.assertRaisesRegex(AssertionError, "3 events wait to be told"):
            self.round.check()


class BadBackEnd(unittest.TestCase):
    """The back end finds what is wrong with requests."""

    def setUp(self):
        self.ledger, self.count = crash_ledger.Ledger(), 0
        self.back_end = crash_webhooks.BackEnd(self.ledger, random.Random(1))
        self.addCleanup(self.back_end.close)

    def sockets(self, count):
        """Requests under way, once all have come."""
        sockets = []
        for _ in range(count):
            self.count += 1
            event = {"id": str(self.count), "type": "trunkline.session.event", "sessionid": "s", "ackrequested": True}
            body, now = json.dumps(event), datetime.datetime.now(datetime.timezone.utc)
            signature = Webhook(crash_webhooks.SECRET).sign("1", now, body)
            head = f"webhook-id: 1\r\nwebhook-timestamp: {int(now.timestamp())}\r\nwebhook-signature: {signature}\r\ncontent-length: {len(body)}"
            sockets.append(socket.create_connection(("127.0.0.1", self.back_end.port)))
            self.addCleanup(sockets[-1].close)
            sockets[-1].sendall(f"POST /app HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n{body}".encode())
        eventually(lambda: len(self.ledger.arrived) == self.count or self.ledger.faults, "requests that come")
        return sockets

    def test_more_requests_than_there_may_be(self):
        self.back_end.turn("slow")
        for one in self.sockets(crash_webhooks.CONCURRENCY):
            one.close()
        # Nobody waits for the first ones any more.
        self.sockets(crash_webhooks.CONCURRENCY)
        self.assertEqual(self.ledger.faults, [])
        self.sockets(1)
        eventually(lambda: self.ledger.faults == ["5 requests are under way to /app"], "that it is found")

    def test_a_request_that_is_not_signed(self):
        with self.assertRaises(requests.ConnectionError):
            requests.post(f"http://127.0.0.1:{self.back_end.port}/app", b"{}", timeout=5)
        eventually(lambda: len(self.ledger.faults) == 1, "that it is found")

    def test_a_request_that_followed_a_redirect(self):
        self.back_end.turn("redirect")
        with self.assertRaises(requests.ConnectionError):
            requests.post(f"http://127.0.0.1:{self.back_end.port}/elsewhere", b"{}", timeout=5)
        eventually(lambda: self.ledger.faults == ["a request to /elsewhere"], "that it is found")


@ours
class Killed(unittest.TestCase):
    def test_what_was_acknowledged_survives(self):
        for name in crash.WORKS:
            with self.subTest(name):
                crash.run(name, BINARY, ROUNDS, seed=1)

    def test_a_back_end_hears_of_all_who_come_back_at_once(self):
        with tempfile.TemporaryDirectory() as folder:
            reconnects.run(BINARY, 100, "100ms", folder, answer_after="1ms")
