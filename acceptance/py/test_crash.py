"""A few rounds of `crash`: the server is killed while clients of MQTT and Socket.IO work."""

import unittest

from . import crash
from .sut import BINARY, ours

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


@ours
class Killed(unittest.TestCase):
    def test_what_was_acknowledged_survives(self):
        for name in crash.WORKS:
            with self.subTest(name):
                crash.run(name, BINARY, ROUNDS, seed=1)
