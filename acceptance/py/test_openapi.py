"""The OpenAPI document that the private port serves is valid, and the server does what it says."""

import json
import subprocess
import sys
import tempfile
import unittest
from urllib.request import urlopen

from openapi_spec_validator import validate

from .sut import ServerCase, ours

# What schemathesis may take in all.
SECONDS_MAX = 240


@ours
class OpenApi(ServerCase):
    def test_the_served_document_is_valid(self):
        with urlopen(f"{self.server['privateUrl']}/v1/openapi.json") as answer:
            validate(json.load(answer))

    def test_requests_made_from_the_document_get_the_answers_it_names(self):
        url = self.server["privateUrl"]
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/v1/openapi.json", "--url", url]
        if self.server.get("key"):
            command += ["--header", f"Authorization: Bearer {self.server['key']}"]
        command += ["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--generation-deterministic"]
        checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
        command += ["--checks", checks, "--request-timeout", "20", "--no-color"]
        # A stream that does not end.
        command += ["--exclude-path", "/v1/tail"]
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, cwd=folder)
        self.assertEqual(done.returncode, 0, done.stdout[-8000:] + done.stderr[-2000:])


if __name__ == "__main__":
    unittest.main()
