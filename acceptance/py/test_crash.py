"""A few rounds of `crash`: the server is killed while clients of MQTT and Socket.IO work."""

import os
import unittest

from . import crash
from .sut import REFERENCE

ROUNDS = 3


@unittest.skipIf(REFERENCE, "a rule of this server")
class Killed(unittest.TestCase):
    def test_what_was_acknowledged_survives(self):
        binary = os.path.join(os.environ.get("TRUNKLINE_BIN_DIR", "../target/debug"), "trunkline")
        for name in crash.WORKS:
            with self.subTest(name):
                crash.run(name, binary, ROUNDS, seed=1)
