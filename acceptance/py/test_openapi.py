"""The OpenAPI document that the private port serves is valid, so that clients can be generated from it."""

import json
import unittest
from urllib.request import urlopen

from openapi_spec_validator import validate

from .sut import ServerCase, ours


@ours
class OpenApi(ServerCase):
    def test_the_served_document_is_valid(self):
        with urlopen(f"{self.server['privateUrl']}/v1/openapi.json") as answer:
            validate(json.load(answer))


if __name__ == "__main__":
    unittest.main()
