"""The doubles of lingpai.testing, and the README's example of them."""

import logging
import queue
import re
import threading
import unittest
from pathlib import Path

from support import PATIENCE, QUICK, Told, in_time, threads

import lingpai
from lingpai.testing import FakeBroker, fixed_source

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


class TestFixedSource(unittest.TestCase):
    def test_a_report_puts_the_next_value_in_its_place(self):
        source = fixed_source("wx1", "TOKEN1", "TOKEN2")
        self.assertEqual([source.app, source(), source.token().generation], ["wx1", "TOKEN1", 1])
        self.assertEqual(source.report(source.token()).outcome, "REFRESHED")
        self.assertEqual([source(), source.token().generation, source.token().previous.value], ["TOKEN2", 2, "TOKEN1"])
        self.assertEqual(source.report(source.token()).outcome, "STILL_VALID")
        self.assertEqual(source(), "TOKEN2")

    def test_without_values_it_has_no_token(self):
        with self.assertRaisesRegex(lingpai.NoToken, "PENDING"):
            fixed_source("wx1").token()
        self.assertEqual(threads(), [])


class TestFakeBroker(unittest.TestCase):
    def setUp(self):
        self.broker = FakeBroker("wx1", "wx2", heartbeat=0.01)
        self.addCleanup(self.broker.stop)
        self.told = Told()
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def client(self, *apps, **options):
        client = lingpai.Client(self.broker.target, apps=apps or ["wx1"], timing=QUICK, **{"on_event": self.told, **options})
        self.addCleanup(client.close)
        return client

    def test_rotate_tells_each_stream(self):
        one, other = self.client(), self.client("wx1", "wx2")
        value = self.broker.rotate("wx1")
        self.told.wait(type="state", generation="2")
        self.told.wait(type="state", generation="2")
        self.assertEqual((one.app("wx1")(), other.app("wx1")()), (value, value))
        self.assertTrue(self.broker.honours("wx1", one.app("wx1").token().previous.value))

    def test_heartbeats_keep_a_stream(self):
        timing = lingpai.Timing(silence=0.2, backoff_base=0.01)
        with lingpai.Client(self.broker.target, apps=["wx1"], timing=timing) as client:
            self.assertEqual(list(client.app("wx1").updates(0.5)), [client.app("wx1").token()])
            self.assertEqual(client.stats()["attempts"], 1)

    def test_refuse_answers_calls_and_ends_streams_with_an_error(self):
        client = self.client()
        self.broker.refuse(lingpai.RpcError("RESOURCE_EXHAUSTED", "too soon", reason="COOLDOWN", retry_after=1.5), "ForceRefresh")
        with self.assertRaisesRegex(lingpai.RpcError, "RESOURCE_EXHAUSTED: COOLDOWN: too soon") as raised:
            client.app("wx1").report(client.app("wx1").token())
        self.assertEqual(raised.exception.retry_after, 1.5)
        self.assertEqual(client.stats()["state"], "LIVE")
        self.broker.refuse(lingpai.RpcError("UNAUTHENTICATED", "this key was revoked"))
        self.assertEqual(self.told.wait(type="error", during="watch")["code"], "UNAUTHENTICATED")
        with self.assertRaisesRegex(lingpai.RpcError, "UNAUTHENTICATED: this key was revoked"):
            self.client(start_timeout=PATIENCE)
        self.broker.refuse(None)
        self.told.wait(type="reconnect")

    def test_an_app_is_unknown_is_added_and_is_removed(self):
        with self.assertRaisesRegex(lingpai.RpcError, "NOT_FOUND: APP_NOT_FOUND: no app wx9 is configured"):
            self.client("wx9", start_timeout=PATIENCE)
        value = self.broker.add("wx9")
        client = self.client("wx9")
        self.assertEqual(client.app("wx9")(), value)
        self.broker.remove("wx9")
        self.told.wait(type="state", app="wx9", reason="REMOVED")
        for use in (self.broker.rotate, self.broker.kill, self.broker.remove, lambda app: self.broker.honours(app, value)):
            with self.assertRaisesRegex(KeyError, "the fake broker has no wx9"):
                use("wx9")

    def test_drain_asks_for_a_new_stream(self):
        client = self.client()
        self.broker.drain(0.002)
        self.assertEqual(self.told.wait(type="goaway")["afterMs"], 2)
        self.told.wait(type="reconnect")
        self.assertEqual(client.stats()["goaways"], 1)

    def test_an_observer_is_told_of_a_stream_that_is_stale(self):
        states: queue.SimpleQueue[str] = queue.SimpleQueue()
        client = self.client(on_event=lambda event: states.put(client.stats()["state"]) if event["type"] == "goaway" else None)
        self.broker.drain(0.002)
        self.assertEqual(states.get(timeout=PATIENCE), "STALE")

    def test_stop_ends_all_and_start_goes_on(self):
        client = self.client()
        target = self.broker.target
        self.broker.stop()
        self.broker.stop()
        self.told.wait(type="error")
        self.assertEqual([thread for thread in threading.enumerate() if "fake" in thread.name or "process_request" in thread.name], [])
        value = self.broker.rotate("wx1")
        self.broker.start()
        self.told.wait(type="reconnect")
        self.told.wait(type="state", generation="2")
        self.assertEqual((client.app("wx1")(), self.broker.target), (value, target))

    def test_a_report_of_an_older_token_is_already_newer(self):
        client = self.client()
        dead = client.app("wx1")()
        self.broker.rotate("wx1")
        answer = client._unary("ForceRefresh", {"appId": "wx1", "rejectedToken": dead})
        self.assertEqual(answer["outcome"], "FORCE_REFRESH_OUTCOME_ALREADY_NEWER")
        self.assertEqual(client._unary("ForceRefresh", {"appId": "wx1"})["state"]["generation"], "3")


class TestReadme(unittest.TestCase):
    def test_its_tests_pass(self):
        (example,) = [block for block in re.findall(r"^```python\n(.*?)^```", README, re.M | re.S) if "lingpai.testing" in block]
        found = {}
        exec(compile(example, "README.md", "exec"), found)
        tests = [value for name, value in found.items() if name.startswith("test_")]
        self.assertEqual(len(tests), 2)
        for test in tests:
            in_time(test)


if __name__ == "__main__":
    unittest.main()
