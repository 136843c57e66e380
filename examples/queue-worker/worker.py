"""Takes events of Socket.IO clients out of a queue and answers the clients over REST. Any number of these may run.

    pip install boto3
    python3 worker.py [--server http://127.0.0.1:9000]

The queue gives an event to one worker at a time and again after 30 s unless it was deleted. So an event is handled at least once,
and `id` tells a repetition. The events of one client come in their order.
"""

import argparse
import json
import urllib.error
import urllib.request

import boto3


def answer(server, session, event, data):
    """Sends an event to one client; True if its connection took it."""
    body = {"channel": f"$client/{session}", "event": event, "data": data}
    request = urllib.request.Request(
        f"{server}/v1/messages", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)["results"][0]["delivered"] > 0
    except urllib.error.HTTPError as error:
        # The client has gone for good.
        if error.code == 404:
            return False
        raise


def handle(server, event):
    """One event: `data` is the list of arguments of the client's `emit`."""
    if event["event"] != "order":
        return
    order = event["data"][0] if event["data"] else None
    if not isinstance(order, dict) or "items" not in order:
        return answer(server, event["sessionid"], "refused", {"error": "an order has items"})
    total = sum(item["price"] * item["count"] for item in order["items"])
    answer(server, event["sessionid"], "accepted", {"order": order["id"], "total": total})


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--server", default="http://127.0.0.1:9000", help="private port of Trunkline")
    arguments.add_argument("--queue", default="orders.fifo")
    given = arguments.parse_args()
    # Without an [[sqs.credential]] any key will do.
    sqs = boto3.client(
        "sqs", endpoint_url=given.server, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    url = sqs.get_queue_url(QueueName=given.queue)["QueueUrl"]
    print(f"waiting for events in {url}", flush=True)
    while True:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20).get("Messages", []):
            handle(given.server, json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


if __name__ == "__main__":
    main()
