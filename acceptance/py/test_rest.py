"""The private port as a back end in Python uses it, with requests: batches, keys, CloudEvents, users of every protocol."""

import json
import threading
import unittest
from urllib.parse import quote

import paho.mqtt.client as mqtt
import requests
import socketio

from .sut import WAIT_S, Inbox, ServerCase, eventually, ours


class Rest(ServerCase):
    settings = {"shards": 3, "mqttUsers": [{"name": "ann", "password": "secret"}]}
    kind = "acceptance"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.http = requests.Session()
        if cls.server.get("key"):
            cls.http.headers["authorization"] = f"Bearer {cls.server['key']}"

    @classmethod
    def tearDownClass(cls):
        cls.http.close()
        super().tearDownClass()

    def ask(self, method, path, status=200, **more):
        answer = self.http.request(method, self.server["privateUrl"] + path, timeout=WAIT_S, **more)
        self.assertEqual(answer.status_code, status, answer.text)
        return answer

    def client(self, user=None):
        """A client of Socket.IO that is connected."""
        client = socketio.Client(reconnection=False)
        inbox = Inbox(client)
        client.connect(self.url, auth={"user": user} if user else None, transports=["websocket"], wait_timeout=WAIT_S)
        self.addCleanup(client.disconnect)
        return client, inbox


@ours
class Messages(Rest):
    def test_a_batch_reaches_its_clients_in_order(self):
        _, inbox = self.client("batcher")
        batch = [{"channel": "$user/batcher", "event": "n", "data": n} for n in range(999)] + [{"channel": ""}]
        items = self.ask("POST", "/v1/messages/batch", json=batch).json()["items"]
        self.assertEqual(len(items), 1000)
        self.assertEqual(sum(item["results"][0]["delivered"] + item["results"][0]["queued"] for item in items[:-1]), 999)
        self.assertEqual((items[-1]["status"], items[-1]["code"]), (422, "invalid-channel"))
        self.assertEqual([inbox.next("n")[0] for _ in range(999)], list(range(999)))

    def test_a_key_makes_a_repeat_harmless(self):
        _, inbox = self.client("keyed")
        body = {"channel": "$user/keyed", "event": "once", "data": 1}
        answers = {self.ask("POST", "/v1/messages", json=body, headers={"Idempotency-Key": '"k"'}).text for _ in range(3)}
        self.assertEqual(len(answers), 1)
        other = {**body, "data": 2}
        problem = self.ask("POST", "/v1/messages", 422, json=other, headers={"Idempotency-Key": '"k"'}).json()
        self.assertEqual(problem["code"], "idempotency-mismatch")
        self.ask("POST", "/v1/messages", json={**body, "event": "end"})
        inbox.next("end")
        self.assertEqual(inbox.count("once"), 1)

    def test_cloudevents_are_published(self):
        _, inbox = self.client("events")
        event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.made", "subject": "$user/events"}
        structured = json.dumps({**event, "data": {"id": 7}})
        self.ask("POST", "/v1/events", data=structured, headers={"content-type": "application/cloudevents+json"})
        self.assertEqual(inbox.next("order.made"), ({"id": 7},))
        headers = {f"ce-{name}": value for name, value in event.items()} | {"content-type": "text/plain"}
        self.ask("POST", "/v1/events", data="tea", headers=headers)
        self.assertEqual(inbox.next("order.made"), ("tea",))

    def test_unknown_members_are_errors(self):
        for path, body in (
            ("/v1/messages", {"channel": "a", "keys": "not there"}),
            ("/v1/messages", {"channel": "a", "reply": {"wait_ms": 1, "x": 1}}),
        ):
            self.assertEqual(self.ask("POST", path, 400, json=body).json()["code"], "unknown-field")


@ours
class Users(Rest):
    def test_a_send_to_a_user_tells_whom_it_reached(self):
        first, second = self.client("both")[1], self.client("both")[1]
        result = self.ask("POST", "/v1/messages", json={"channel": "$user/both", "event": "hi", "data": 1}).json()["results"][0]
        self.assertEqual((result["delivered"] + result["queued"], result["dropped"]), (2, 0))
        self.assertEqual([first.next("hi"), second.next("hi")], [(1,), (1,)])
        nobody = self.ask("POST", "/v1/messages", json={"channel": "$user/nobody", "data": 1}).json()["results"][0]
        self.assertEqual((nobody["delivered"], nobody["queued"]), (0, 0))

    def test_users_are_listed_looked_at_and_ended(self):
        for n in range(3):
            self.client(f"listed/{n}")
        found, cursor = [], {}
        while True:
            page = self.ask("GET", "/v1/users", params={"limit": 2, **cursor}).json()
            found += [item["user"] for item in page["items"]]
            if "next" not in page:
                break
            cursor = {"cursor": page["next"]}
        self.assertEqual([user for user in found if user.startswith("listed/")], [f"listed/{n}" for n in range(3)])
        path = "/v1/users/" + quote("listed/1", safe="")
        view = self.ask("GET", path).json()
        self.assertEqual((view["user"], view["online"], len(view["sessions"])), ("listed/1", True, 1))
        self.assertEqual(self.ask("DELETE", path + "/sessions").json(), {"count": 1})
        self.ask("GET", path, 404)

    def test_all_sessions_but_one_are_ended(self):
        (kept, _), (gone, _) = self.client("single"), self.client("single")
        left = threading.Event()
        gone.on("disconnect", lambda *_: left.set())
        answer = self.ask("DELETE", "/v1/users/single/sessions", params={"except": kept.get_sid()})
        self.assertEqual(answer.json(), {"count": 1})
        self.assertTrue(left.wait(WAIT_S))
        self.assertTrue(kept.connected)

    def test_stored_subscriptions_are_there_from_the_start_and_follow_changes(self):
        path = "/v1/users/stored/subscriptions"
        self.ask("PUT", path, 204, json={"channel": "news/tea"})
        _, inbox = self.client("stored")
        self.ask("POST", "/v1/messages", json={"channel": "news/tea", "event": "e", "data": 1})
        self.assertEqual(inbox.next("e"), (1,))
        self.ask("PUT", path, 204, json={"channel": "news/+", "qos": 2})
        self.ask("POST", "/v1/messages", json={"channel": "news/milk", "event": "e", "data": 2})
        self.assertEqual(inbox.next("e"), (2,))
        listed = self.ask("GET", path).json()["items"]
        self.assertEqual(listed, [{"channel": "news/tea", "qos": 1}, {"channel": "news/+", "qos": 2}])
        self.ask("DELETE", path, 204)
        counts = self.ask("POST", "/v1/messages", json={"channel": "news/tea", "event": "e", "data": 3}).json()["results"][0]
        self.assertEqual((counts["delivered"], counts["queued"]), (0, 0))
        self.ask("PUT", path, 403, json={"channel": "$user/other"})
        self.ask("PUT", path, 422, json={"channel": "a/#/b"})

    def test_an_exclusive_subscription_tells_who_had_to_leave(self):
        sessions = [self.client() for _ in range(4)]
        ids = [client.get_sid() for client, _ in sessions]
        for sid in ids[:3]:
            self.ask("PUT", "/v1/subscriptions", json={"session": sid, "channel": "desk"})
        answer = self.ask("PUT", "/v1/subscriptions", json={"session": ids[3], "channel": "desk", "exclusive": True}).json()
        self.assertEqual((answer["count"], sorted(answer["left"])), (1, sorted(ids[:3])))
        self.ask("POST", "/v1/messages", json={"channel": "desk", "event": "e", "data": 1})
        self.assertEqual(sessions[3][1].next("e"), (1,))
        self.assertEqual(sum(inbox.count("e") for _, inbox in sessions[:3]), 0)

    def test_an_import_shows_its_progress_and_what_it_did_not_take(self):
        lines = "".join(f'{{"user":"i{n}","channel":"imported/{n % 2}"}}\n' for n in range(1000)) + "{}\n"
        answer = self.ask("POST", "/v1/imports", 202, data=lines, headers={"content-type": "application/x-ndjson"})
        view = answer.json()
        self.assertEqual((view["state"], view["pairs"], view["rejected"]), ("done", 1000, 1))
        self.assertEqual(view["rejections"][0]["line"], 1001)
        self.assertEqual(self.ask("GET", answer.headers["location"]).json()["lines"], 1001)
        _, inbox = self.client("i7")
        self.ask("POST", "/v1/messages", json={"channel": "imported/1", "event": "e", "data": "hi"})
        self.assertEqual(inbox.next("e"), ("hi",))

    def test_a_blocked_user_is_put_out_and_kept_out(self):
        client, _ = self.client("bad")
        left = threading.Event()
        client.on("disconnect", lambda *_: left.set())
        self.ask("PUT", "/v1/blocks/bad", 204, json={"reason": "spam"})
        self.assertTrue(left.wait(WAIT_S))
        with self.assertRaises(socketio.exceptions.ConnectionError):
            self.client("bad")
        self.assertEqual(self.ask("GET", "/v1/blocks/bad").json(), {"user": "bad", "reason": "spam"})
        self.ask("DELETE", "/v1/blocks/bad", 204)
        self.ask("DELETE", "/v1/blocks/bad", 404)
        self.client("bad")


@ours
class MqttUsers(Rest):
    kind = "mqtt"

    def paho(self, client_id, on_connect=lambda client: None):
        """A client that is connected, with what it got and how often it connected."""
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, clean_session=False)
        client.reconnect_delay_set(min_delay=1, max_delay=1)
        client.username_pw_set("ann", "secret")
        got, connects = [], []

        def connected(*_):
            on_connect(client)
            connects.append(1)

        client.on_message = lambda _client, _data, message: got.append((message.topic, message.payload, message.qos))
        client.on_connect = connected
        host, port = self.server["url"].removeprefix("http://").rsplit(":", 1)
        client.connect(host, int(port))
        client.loop_start()
        self.addCleanup(client.loop_stop)
        self.addCleanup(client.disconnect)
        eventually(lambda: connects, "it is connected")
        return client, got, connects

    def test_a_connection_is_found_and_closed_and_its_client_comes_back(self):
        _, _, connects = self.paho("ann2")
        found = self.ask("GET", "/v1/connections?client_id=ann2").json()["items"]
        self.assertEqual([(one["protocol"], one["transport"], one["sessions"][0]["user"]) for one in found], [("mqtt/3.1.1", "tcp", "ann")])
        self.assertEqual(self.ask("GET", f"/v1/connections/{found[0]['id']}").json()["sessions"], found[0]["sessions"])
        self.ask("DELETE", f"/v1/connections/{found[0]['id']}", 204)
        eventually(lambda: len(connects) == 2, "it is back")
        again = self.ask("GET", "/v1/connections?client_id=ann2&node=0").json()["items"]
        self.assertEqual(again[0]["sessions"], found[0]["sessions"])
        self.assertNotEqual(again[0]["id"], found[0]["id"])
        self.assertEqual(self.ask("DELETE", "/v1/connections?client_id=ann2").json(), {"count": 1})
        eventually(lambda: len(connects) == 3, "it is back again")

    def test_a_message_of_a_key_takes_the_place_of_one_that_waits(self):
        client, got, _ = self.paho("ann3", lambda client: client.subscribe("prices/#", 1))
        eventually(lambda: "prices/#" in self.ask("GET", "/v1/sessions?client_id=ann3").json()["items"][0]["subscriptions"])
        client.disconnect()
        client.loop_stop()
        eventually(lambda: not self.ask("GET", "/v1/sessions?client_id=ann3").json()["items"][0]["connected"], "it is away")
        for price, key in ((1, "tea"), (2, "coffee"), (3, "tea"), (4, "tea"), (5, None)):
            message = {"channel": "prices/all", "data": price} | ({"key": key} if key else {})
            self.ask("POST", "/v1/messages", json=message)
        self.ask("POST", "/v1/messages", 400, json={"channel": "prices/all", "key": ""})
        client.reconnect()
        client.loop_start()
        eventually(lambda: len(got) >= 3, "what waited")
        self.assertEqual([payload for _, payload, _ in got], [b"2", b"4", b"5"])

    def test_stored_subscriptions_hold_for_mqtt(self):
        self.ask("PUT", "/v1/users/ann/subscriptions", 204, json={"channel": "stored/mqtt", "qos": 1})
        _, got, _ = self.paho("ann1")
        self.ask("POST", "/v1/messages", json={"channel": "stored/mqtt", "data": "hi"})
        eventually(lambda: got, "a message of a stored subscription")
        self.assertEqual(got[0], ("stored/mqtt", b'"hi"', 1))
        self.ask("DELETE", "/v1/users/ann/subscriptions", 204)
        counts = self.ask("POST", "/v1/messages", json={"channel": "stored/mqtt", "data": "hi"}).json()["results"][0]
        self.assertEqual((counts["delivered"], counts["queued"]), (0, 0))


@ours
class Drained(Rest):
    def test_a_node_sends_its_clients_away_and_takes_them_again(self):
        client, _ = self.client("drained")
        gone = threading.Event()
        client.on("disconnect", lambda *_: gone.set())
        self.ask("PUT", "/v1/nodes/0/drain", 202, json={"seconds": 0})
        self.assertTrue(gone.wait(WAIT_S))
        with self.assertRaises(socketio.exceptions.ConnectionError):
            self.client("drained")
        self.ask("GET", "/health/ready", 503)
        node = self.ask("GET", "/v1/nodes").json()["items"][0]
        self.assertEqual((node["id"], node["draining"]), (0, True))
        self.ask("POST", "/v1/messages", json={"channel": "a", "data": 1})
        self.ask("DELETE", "/v1/nodes/0/drain", 204)
        self.ask("GET", "/health/ready")
        _, inbox = self.client("drained")
        self.ask("POST", "/v1/messages", json={"channel": "$user/drained", "event": "hi", "data": 1})
        self.assertEqual(inbox.next("hi"), (1,))


if __name__ == "__main__":
    unittest.main()
