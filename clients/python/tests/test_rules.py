"""The rules of SPEC.md, by states that a test makes and a broker in the process."""

import itertools
import json
import logging
import sys
import threading
import unittest
from datetime import datetime, timedelta, timezone
from unittest import mock

from support import PATIENCE, QUICK, Clock, Told, in_time

import lingpai
from lingpai.testing import FakeBroker, fixed_source

SERVER = datetime(2027, 1, 15, 8, 0, tzinfo=timezone.utc)


def at(seconds):
    """A time of the broker's, so many seconds after SERVER."""
    return (SERVER + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def told(generation, life=None, status="FRESH", previous=None, **fields):
    """A state. ``life``, of the token and of the one before it: in seconds."""
    state = {"appId": "wx1", "generation": str(generation), "status": f"TOKEN_STATUS_{status}", **fields}
    for name, value, lives in (("current", f"TOKEN{generation}", life), ("previous", "OLDER", previous)):
        if (name == "current" and status not in ("PENDING", "EXPIRED")) or lives is not None:
            state[name] = {"value": value, **({} if lives is None else {"expireTime": at(lives)})}
    return state


class WithSource(unittest.TestCase):
    """A source without a broker: a test tells it states, on a clock that it drives."""

    def setUp(self):
        self.clock = Clock()
        driven = self.clock.driven()
        driven.__enter__()
        self.addCleanup(driven.__exit__, None, None, None)
        self.source = fixed_source("wx1")
        self.events = []
        self.source._client._queue = self.events.append

    def tell(self, *args, **fields):
        self.source._take(told(*args, **fields), at(0))

    def held(self):
        """The generation held, or the reason why there is none."""
        try:
            return self.source.token().generation
        except lingpai.NoToken as error:
            return error.reason


class TestMonotone(WithSource):
    """R2"""

    def test_only_an_equal_or_a_greater_generation_is_taken(self):
        for generation, held in (
            (7, 7),
            (6, 7),
            (7, 7),
            (8, 8),
            (2**53 + 1, 2**53 + 1),
            (2**53, 2**53 + 1),
            (2**64 - 1, 2**64 - 1),
            (2**63, 2**64 - 1),
        ):
            self.tell(generation)
            self.assertEqual(self.held(), held, f"after {generation}")

    def test_of_equal_generations_the_newest_status_stands(self):
        for status, held in (("FRESH", 7), ("EXPIRED", "EXPIRED"), ("FRESH", 7), ("DEGRADED", 7), ("PENDING", "PENDING")):
            self.tell(7, status=status)
            self.assertEqual(self.held(), held, status)
        self.assertEqual([event["reason"] or event["generation"] for event in self.events], ["7", "EXPIRED", "7", "PENDING"])

    def test_the_brokers_words_come_with_it(self):
        self.tell(7, status="EXPIRED", statusReason="WeChat answers -1")
        with self.assertRaisesRegex(lingpai.NoToken, "no token of wx1: EXPIRED, WeChat answers -1"):
            self.source.token()

    def test_an_app_that_was_removed_begins_anew(self):
        self.tell(7)
        self.source._drop("REMOVED")
        self.assertEqual(self.held(), "REMOVED")
        self.tell(1)
        self.assertEqual(self.held(), 1)

    def test_an_app_that_is_unknown_does_not(self):
        self.tell(7)
        self.source._drop("NOT_FOUND")
        self.tell(6)
        self.assertEqual(self.held(), "NOT_FOUND")
        self.tell(7)
        self.assertEqual(self.held(), 7)

    def test_a_state_that_makes_no_sense_is_an_error_and_changes_nothing(self):
        self.tell(7)
        for wrong in (
            {"generation": "x"},
            {"generation": "-1"},
            {"generation": str(2**64)},
            {"current": {"value": ""}},
            {"current": {"value": "v" * 2049}},
            {"current": {"value": "v", "expireTime": "soon"}},
            {"current": {"value": "v", "expireTime": 0}},
        ):
            with self.subTest(str(wrong)[:40]):
                with self.assertRaisesRegex(lingpai.RpcError, "INTERNAL: a state of wx1 makes no sense") as raised:
                    self.source._take({**told(8), **wrong}, at(0))
                self.assertEqual((raised.exception.code, raised.exception.app), ("INTERNAL", ""))
                self.assertNotIn("vvv", str(raised.exception))
                self.source._client._unary = lambda method, request, wrong=wrong: {"outcome": 1, "state": {**told(8), **wrong}}
                with self.assertRaisesRegex(lingpai.RpcError, "INTERNAL: a state of wx1"):
                    self.source.report(self.source.token())
            self.assertEqual(self.held(), 7)
        for nothing in (None, [], 7):
            self.source._take(nothing, at(0))
        self.assertEqual(self.held(), 7)


class TestExpiry(WithSource):
    """R3"""

    def test_a_life_is_counted_on_the_monotonic_clock(self):
        self.tell(7, life=100)
        self.assertEqual(self.source.token().expires_at, self.clock.now + 100)
        self.clock.now += 99.9
        self.source._expire()
        self.assertEqual(self.held(), 7)
        self.clock.now += 0.2
        self.source._expire()
        self.assertEqual(self.held(), "EXPIRED")
        self.assertEqual(self.events[-1]["reason"], "EXPIRED")

    def test_without_a_time_of_the_brokers_it_is_counted_from_the_own(self):
        with mock.patch("time.time", return_value=SERVER.timestamp() + 40):
            self.source._take(told(7, life=100, previous=50), None)
        token = self.source.token()
        self.assertEqual((token.expires_at, token.previous.expires_at), (self.clock.now + 60, self.clock.now + 10))

    def test_the_clients_thread_ends_it(self):
        client = lingpai.Client("http://127.0.0.1:1", apps=["wx1"], start_optional=True)
        self.addCleanup(client.close)
        expired = threading.Event()
        source = client.app("wx1")
        source._take(told(7, life=100), at(0))
        source._listen(expired.set)
        self.assertEqual(source.token().generation, 7)
        self.clock.now += 101
        with client._lock:
            client._changed.notify_all()  # as when the time that it waited is over
        self.assertTrue(expired.wait(PATIENCE))
        with self.assertRaisesRegex(lingpai.NoToken, "EXPIRED"):
            source.token()

    def test_a_timer_that_is_late_is_not_waited_for(self):
        self.tell(7, life=100)
        self.assertEqual(self.held(), 7)
        self.clock.now += 101
        self.assertIn("EXPIRED", [self.held() for _ in range(66)])
        self.assertEqual(self.held(), "EXPIRED")

    def test_one_without_an_end_has_none(self):
        self.tell(7)
        self.clock.now += 1e9
        self.source._expire()
        self.assertEqual(self.held(), 7)
        self.assertIsNone(self.source.token().expires_at)

    def test_one_that_is_over_when_it_comes_is_none(self):
        self.tell(7, life=0)
        self.assertEqual(self.held(), "EXPIRED")

    def test_an_end_that_was_put_off_is(self):
        self.tell(7, life=100)
        self.tell(7, life=200)
        self.clock.now += 101
        self.source._expire()
        self.assertEqual(self.held(), 7)

    def test_the_previous_token_is_there_while_its_grace_lasts(self):
        self.tell(7, life=100, previous=10)
        previous = self.source.token().previous
        self.assertEqual((previous.value, previous.generation), ("OLDER", 0))
        self.clock.now += 10
        self.assertIsNone(self.source.token().previous)
        self.assertEqual(self.source.token().value, "TOKEN7")


class TestForward(WithSource):
    """R14"""

    def test_a_status_that_is_not_known_is_served(self):
        self.source._take({**told(7), "status": 99, "notYetInvented": {}}, at(0))
        self.assertEqual(self.held(), 7)

    def test_an_event_that_is_not_known_says_nothing(self):
        client = self.source._client
        for message in ({}, {"notYetInvented": {}}, {"state": {"appId": "wx9"}}, {"removed": {"appId": "wx9"}}, {"state": None, "goaway": None}):
            self.assertIsNone(client._take(message))


class WithBroker(unittest.TestCase):
    def setUp(self):
        self.broker = FakeBroker("wx1", "wx2")
        self.addCleanup(self.broker.stop)
        self.told = Told()

    def client(self, *apps, **options):
        client = lingpai.Client(self.broker.target, apps=apps or ["wx1"], on_event=self.told, timing=QUICK, **options)
        self.addCleanup(client.close)
        return client

    def refused(self, errcode=40001):
        """A business call that WeChat refuses while the broker's token is dead, and the tokens that it was called with."""
        used = []

        def business(token):
            used.append(token)
            if not self.broker.honours("wx1", token):
                raise lingpai.Rejected(errcode, "invalid credential")
            return "sent"

        return business, used


class TestReport(WithBroker):
    """R11"""

    def test_callers_that_report_one_token_share_one_report(self):
        source = self.client().app("wx1")
        self.broker.kill("wx1")
        barrier, outcomes = threading.Barrier(20), []
        refused = source.token()

        def report():
            barrier.wait(PATIENCE)
            outcomes.append(source.report(refused))

        reporting = [threading.Thread(target=report) for _ in range(20)]
        for thread in reporting:
            thread.start()
        for thread in reporting:
            thread.join(PATIENCE)
        self.assertEqual(self.broker.reports, 1)
        self.assertEqual({token.generation for _, token in outcomes}, {2})
        self.assertLessEqual({outcome for outcome, _ in outcomes}, {"REFRESHED", "NEWER_HELD"})

    def test_where_a_newer_token_is_held_no_call_is_made(self):
        source = self.client().app("wx1")
        refused = source.token()
        self.broker.rotate("wx1")
        self.told.wait(type="state", generation="2")
        outcome, token = source.report(refused)
        self.assertEqual((outcome, token.generation, self.broker.reports), ("NEWER_HELD", 2, 0))

    def test_the_token_is_named_by_its_value(self):
        asked = []
        source = fixed_source("wx1", "TOKEN1", "TOKEN2")
        unary = source._client._unary
        source._client._unary = lambda method, request: (asked.append((method, request)), unary(method, request))[1]
        source.report(source.token())
        self.assertEqual(asked, [("ForceRefresh", {"appId": "wx1", "rejectedToken": "TOKEN1"})])

    def test_in_cooldown_the_same_error_is_the_answer_until_it_is_over(self):
        clock = Clock()
        source = fixed_source("wx1", "TOKEN1", "TOKEN2")
        answers = []

        def unary(method, request):
            answers.append(lingpai.RpcError("RESOURCE_EXHAUSTED", "too soon", reason="COOLDOWN", retry_after=[60.0, 900.0, 60.0][len(answers)]))
            raise answers[-1]

        source._client._unary = unary
        with clock.driven():
            # 900 s are more than is believed.
            for passes, calls in ((0, 1), (59.9, 1), (0.2, 2), (299.9, 2), (0.2, 3)):
                clock.now += passes
                with self.assertRaisesRegex(lingpai.RpcError, "COOLDOWN"):
                    source.report(source.token())
                self.assertEqual(len(answers), calls)

    def test_an_outcome_that_is_not_known_is_unknown_and_its_token_taken(self):
        source = fixed_source("wx1", "TOKEN1", "TOKEN2")
        unary = source._client._unary
        source._client._unary = lambda method, request: {**unary(method, request), "outcome": 99}
        outcome, token = source.report(source.token())
        self.assertEqual((outcome, token.value), ("UNKNOWN", "TOKEN2"))

    def test_an_answer_that_cannot_be_read_is_an_error_of_the_broker(self):
        source = fixed_source("wx1", "TOKEN1")
        source._client._unary = lambda method, request: {"outcome": []}
        with self.assertRaisesRegex(lingpai.RpcError, "UNKNOWN: TypeError"):
            source.report(source.token())


class TestCall(WithBroker):
    """R12"""

    def test_a_token_that_was_refused_is_replaced_and_the_call_made_once_more(self):
        source = self.client().app("wx1")
        dead = source()
        for errcode in (40001, 40014, 42001):
            with self.subTest(errcode):
                self.broker.kill("wx1")
                business, used = self.refused(errcode)
                self.assertEqual(source.call(business), "sent")
                self.assertEqual(used, [dead, source()])
                dead = source()

    def test_it_is_called_at_most_twice(self):
        source, used = self.client().app("wx1"), []

        def business(token):
            used.append(token)
            self.broker.kill("wx1")  # each report brings a newer one
            raise lingpai.Rejected(40001, f"call {len(used)}")

        with self.assertRaisesRegex(lingpai.Rejected, "call 2"):
            source.call(business)
        self.assertEqual(len(used), 2)

    def test_where_wechat_accepts_the_token_the_users_error_is_raised(self):
        source, used = self.client().app("wx1"), []
        error = lingpai.Rejected(40001)

        def business(token):
            used.append(token)
            raise error

        with self.assertRaises(lingpai.Rejected) as raised:
            source.call(business)
        self.assertIs(raised.exception, error)
        self.assertEqual((len(used), self.broker.reports), (1, 1))

    def test_where_the_report_fails_the_users_error_is_raised(self):
        source = self.client().app("wx1")
        self.broker.kill("wx1")
        self.broker.refuse(lingpai.RpcError("UNAVAILABLE", "not now"), "ForceRefresh")
        business, used = self.refused()
        with self.assertRaisesRegex(lingpai.Rejected, "40001 invalid credential"):
            source.call(business)
        self.assertEqual(len(used), 1)

    def test_a_newer_token_that_came_meanwhile_is_used_though_the_report_fails(self):
        source = fixed_source("wx1", "TOKEN1")

        def unary(method, request):
            source._take({**told(2)}, None)
            raise lingpai.RpcError("UNAVAILABLE", "not now")

        source._client._unary = unary
        used = []

        def business(token):
            used.append(token)
            if token == "TOKEN1":
                raise lingpai.Rejected(40001)

        source.call(business)
        self.assertEqual(used, ["TOKEN1", "TOKEN2"])

    def test_another_error_is_not_about_the_token(self):
        source = self.client().app("wx1")
        with self.assertRaises(ZeroDivisionError):
            source.call(lambda token: 1 / 0)
        self.assertEqual(self.broker.reports, 0)
        self.assertEqual(
            [errcode for errcode in (0, -1, 40001, 40013, 40014, 41001, 42001, "40001", None) if lingpai.is_rejection(errcode)], [40001, 40014, 42001]
        )

    def test_a_client_that_is_closed_meanwhile_leaves_the_users_error(self):
        client = self.client()

        def business(token):
            client.close()
            raise lingpai.Rejected(40001)

        with self.assertRaises(lingpai.Rejected):
            in_time(lambda: client.app("wx1").call(business))
        with self.assertRaises(lingpai.Closed):
            client.app("wx1").call(business)


class TestStream(WithBroker):
    """R9, R10, R17"""

    def test_an_unknown_app_is_left_out_and_asked_for(self):
        with self.assertLogs("lingpai", "INFO") as logged:
            client = self.client("wx1", "wx9", start_optional=True)
            self.told.wait(type="state", app="wx1", state="HELD")
            with self.assertRaisesRegex(lingpai.NoToken, "no token of wx9: NOT_FOUND, no app wx9 is configured"):
                client.app("wx9").token()
            self.broker.add("wx9")
            self.told.wait(type="state", app="wx9", state="HELD")
            self.told.wait(type="reconnect")
        self.assertEqual([record.levelname for record in logged.records], ["WARNING", "INFO", "INFO"])
        self.assertRegex(logged.output[0], "does not know an app.*wx9")

    def test_an_app_that_is_known_by_now_and_has_no_token_is_taken_back_into_the_stream(self):
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.client("wx1", "wx9", start_optional=True)
        self.told.wait(type="state", app="wx9", reason="NOT_FOUND")
        self.broker.refuse(lingpai.RpcError("UNAVAILABLE", "its refresh failed", reason="UPSTREAM_ERROR", app="wx9"), "Get")
        self.broker.add("wx9")
        self.told.wait(type="state", app="wx9", state="HELD")

    def test_unknown_apps_are_asked_for_by_one_thread(self):
        strangers = [f"wx9{i}" for i in range(20)]
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.client("wx1", *strangers, start_optional=True)
        self.told.wait(type="state", app="wx1", state="HELD")
        self.assertEqual([thread.name for thread in threading.enumerate()].count("lingpai-probe"), 1)
        for app in strangers:
            self.broker.add(app)
        missing = set(strangers)
        while missing:
            missing.discard(self.told.wait(type="state", state="HELD")["app"])

    def test_a_start_with_an_unknown_app_fails_at_once_and_names_it(self):
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        with self.assertRaisesRegex(lingpai.RpcError, "NOT_FOUND: APP_NOT_FOUND: no app wx9") as raised:
            self.client("wx1", "wx9", start_timeout=PATIENCE)
        self.assertEqual(raised.exception.app, "wx9")

    def test_a_stream_that_is_lost_and_regained_is_logged(self):
        client = self.client()
        with self.assertLogs("lingpai", "INFO") as logged:
            self.broker.drain(0.001)
            self.told.wait(type="reconnect")
        self.assertEqual(
            logged.output,
            ["INFO:lingpai:the stream to the broker is lost, the tokens held are served", "INFO:lingpai:the stream to the broker is back"],
        )
        with self.assertLogs("lingpai", "INFO") as logged:
            self.broker.stop()
            for _ in range(13):
                self.told.wait(type="error")
            self.assertEqual((client.stats()["state"], client.app("wx1").token().generation), ("STALE", 1))
            self.broker.start()
            self.told.wait(type="reconnect")
        failures = [record.levelname for record in logged.records]
        self.assertEqual((failures[:2], failures[-1]), (["INFO", "WARNING"], "INFO"))
        self.assertIn(failures.count("WARNING"), (1, 2))  # the third and the thirteenth failure

    def test_a_value_beyond_its_bounds_is_an_error_of_the_stream(self):
        client = self.client()
        too_long = {"appId": "wx1", "generation": "2", "current": {"value": "v" * 2049}}
        with mock.patch.object(self.broker, "_state", return_value=too_long):
            self.broker.rotate("wx1")
            self.assertEqual(self.told.wait(type="error", during="watch")["code"], "INTERNAL")
            self.assertEqual(client.app("wx1").token().generation, 1)
        self.told.wait(type="state", generation="2")

    def test_what_somebody_must_mend_is_warned_of_and_the_token_served(self):
        client = self.client()
        with self.assertLogs("lingpai", "WARNING") as logged:
            self.broker.refuse(lingpai.RpcError("PERMISSION_DENIED", "not yours", reason="APP_NOT_ALLOWED"))
            error = self.told.wait(type="error")
        self.assertRegex(logged.output[0], "PERMISSION_DENIED: APP_NOT_ALLOWED: not yours")
        self.assertGreaterEqual(error["retryInMs"], 20)
        self.assertEqual(client.app("wx1").token().generation, 1)
        self.broker.refuse(None)
        self.told.wait(type="reconnect")

    def test_no_event_stats_or_log_line_has_a_value(self):
        with self.assertLogs("lingpai", "DEBUG") as logged:
            client = self.client()
            business, _ = self.refused()
            self.broker.kill("wx1")
            client.app("wx1").call(business)
            self.broker.drain(0.001)
            self.told.wait(type="reconnect")
            stats = client.stats()
            client.close()
        self.told._events.put({"type": "the end"})
        events = list(iter(self.told._events.get, {"type": "the end"}))
        shown = json.dumps([events, stats]) + "".join(logged.output) + repr(vars(client)) + repr(client._settings)
        for value in self.broker._apps["wx1"].issued:
            self.assertNotIn(value, shown)

    def test_updates_give_the_newest_token_only(self):
        source = self.client().app("wx1")
        updates = source.updates(PATIENCE)
        self.assertEqual(next(updates).generation, 1)
        for _ in range(3):
            value = self.broker.rotate("wx1")
        self.told.wait(type="state", generation="4")
        self.assertEqual(next(updates).value, value)
        self.assertEqual(list(source.updates(0.01)), [source.token()])
        source._client.close()
        self.assertEqual(list(updates), [])


class TestRead(unittest.TestCase):
    def overtaken(self, source, by):
        """A read of TOKEN1 that something comes between, just before it is the next reads' too."""

        def repeated(token, times):
            if token.generation == 1:
                by()
            return itertools.repeat(token, times)

        with mock.patch("lingpai._source.repeat", repeated):
            try:
                source.token()
            except lingpai.LingpaiError:
                pass

    def test_a_newer_token_that_comes_while_one_is_read_is_the_next(self):
        source = fixed_source("wx1", "TOKEN1")
        self.overtaken(source, lambda: source._take(told(2), None))
        self.assertEqual([source.token().generation for _ in range(100)], [2] * 100)

    def test_a_token_that_is_taken_away_while_it_is_read_is_not_read_again(self):
        for by, kind in (
            (lambda source: source._client.close(), lingpai.Closed),
            (lambda source: source._drop("REMOVED"), lingpai.NoToken),
            (lambda source: source._take(told(2, status="EXPIRED"), None), lingpai.NoToken),
        ):
            source = fixed_source("wx1", "TOKEN1")
            self.overtaken(source, lambda source=source, by=by: by(source))
            for _ in range(100):
                self.assertRaises(kind, source.token)

    def test_it_allocates_nothing(self):
        source = fixed_source("wx1", "TOKEN")
        source.token()
        before = sys.getallocatedblocks()
        for _ in range(1000):
            source.token()
        self.assertLess(sys.getallocatedblocks() - before, 50)


if __name__ == "__main__":
    unittest.main()
