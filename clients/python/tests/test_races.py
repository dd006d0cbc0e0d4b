"""What comes between: threads that cannot be started, forks, a close at any time, users' functions that raise."""

import asyncio
import dataclasses
import logging
import os
import pickle
import queue
import socket
import ssl
import subprocess
import sys
import threading
import traceback
import unittest
from contextlib import contextmanager
from unittest import mock

from support import PATIENCE, QUICK, Told, connection_of, in_child, in_time, threads

import lingpai
from lingpai import _client
from lingpai._backoff import Backoff
from lingpai.testing import FakeBroker

start = threading.Thread.start


def short_of(*names):
    """No thread of such a name can be started."""

    def refused(thread):
        if thread.name in names:
            raise RuntimeError("can't start new thread")
        start(thread)

    return mock.patch.object(threading.Thread, "start", refused)


class WithBroker(unittest.TestCase):
    def setUp(self):
        self.broker = FakeBroker("wx1", "wx2")
        self.addCleanup(self.broker.stop)
        self.told = Told()
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def client(self, *apps, **options):
        client = lingpai.Client(self.broker.target, apps=apps or ["wx1"], on_event=self.told, timing=QUICK, **options)
        self.addCleanup(client.close)
        return client


class TestThreads(WithBroker):
    def test_a_start_without_threads_leaves_nothing_behind(self):
        with short_of("lingpai-expiry"), self.assertRaisesRegex(RuntimeError, "new thread"):
            self.client()
        self.assertEqual(threads(), [])

    def test_a_report_without_a_thread_is_an_error_and_the_next_is_made(self):
        client = self.client()
        source = client.app("wx1")
        self.broker.kill("wx1")

        def business(token):
            if not self.broker.honours("wx1", token):
                raise lingpai.Rejected(40001)

        with short_of("lingpai-report"):
            with self.assertRaises(lingpai.Rejected):
                source.call(business)
            with self.assertRaises(lingpai.RpcError):
                source.report(source.token())
        in_time(lambda: source.call(business))
        self.assertEqual(self.broker.reports, 1)

    def test_an_unknown_app_without_a_thread_to_ask_for_it_does_not_end_the_stream(self):
        with short_of("lingpai-probe"):
            client = self.client("wx1", "wx9", start_optional=True)
            self.told.wait(type="state", app="wx1", state="HELD")
        self.broker.add("wx9")
        self.broker.drain(0.001)  # a thread is tried again with each stream
        self.told.wait(type="state", app="wx9", state="HELD")
        self.told.wait(type="reconnect")
        self.assertEqual(client.stats()["state"], "LIVE")

    def test_a_client_of_unknown_apps_alone_asks_though_the_thread_came_late(self):
        with short_of("lingpai-probe"):
            self.client("wx9", start_optional=True)
            self.told.wait(type="state", app="wx9", reason="NOT_FOUND")
        self.broker.add("wx9")
        self.told.wait(type="state", app="wx9", state="HELD")

    def test_counts_of_many_threads_are_exact(self):
        client = self.client()
        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        sys.setswitchinterval(1e-6)
        counting = [threading.Thread(target=lambda: [client._count("reports") for _ in range(50_000)]) for _ in range(4)]
        for thread in counting:
            thread.start()
        for thread in counting:
            thread.join()
        self.assertEqual(client.stats()["reports"], 200_000)


class TestClose(WithBroker):
    def test_it_can_come_between_the_making_of_a_thread_and_its_start(self):
        client = self.client(start_optional=True)

        def closed_first(thread):
            client.close()
            start(thread)

        # The other threads cannot end while this one has the lock.
        with mock.patch.object(threading.Thread, "start", closed_first), mock.patch.object(_client, "_CLOSE", 0.01):
            client._spawn("lingpai-late", lambda: None)
        self.assertEqual(client.stats()["state"], "CLOSED")

    def test_it_can_come_before_a_thread_waits(self):
        class Seen(threading.Event):
            """An event that is set just after a thread has seen that it is not."""

            def is_set(self):
                is_set = super().is_set()
                if not is_set and threading.current_thread().name in ("lingpai-expiry", "lingpai-probe"):
                    self.closing = threading.Thread(target=client.close)
                    self.closing.start()
                    self.closing.join(0.1)  # it has to wait, where the thread looks under the lock
                return is_set

        for name in ("_expire", "_probe"):
            with self.subTest(name):
                client = self.client()
                client._closing = Seen()
                worker = threading.Thread(target=getattr(client, name), name={"_expire": "lingpai-expiry", "_probe": "lingpai-probe"}[name])
                worker.start()
                worker.join(PATIENCE)
                self.assertFalse(worker.is_alive(), "it waits for a notice that is over")

    def test_a_signal_handler_may_close_what_is_being_closed(self):
        connection = connection_of(self.client()._settings)

        def handled():
            with connection._lock:
                connection.abort()

        in_time(handled)

    def test_who_waits_for_a_report_is_told_though_its_thread_hangs(self):
        client = self.client()
        source, hangs, late = client.app("wx1"), threading.Event(), threading.Event()

        def unary(method, request):
            hangs.set()
            late.wait(PATIENCE)
            raise lingpai.Closed()

        client._unary = unary
        with mock.patch.object(_client, "_CLOSE", 0.01):
            report = source._report(source.token())
            hangs.wait(PATIENCE)
            client.close()
        self.addCleanup(late.set)
        self.assertIsInstance(report.exception(timeout=0), lingpai.Closed)

    def test_it_ends_a_start(self):
        self.broker.refuse(lingpai.RpcError("UNAVAILABLE", "not yet"))

        async def cancelled():
            starting = asyncio.ensure_future(lingpai.AsyncClient(self.broker.target, apps=["wx1"], on_event=self.told, timing=QUICK).__aenter__())
            await asyncio.to_thread(self.told.wait, type="error")
            starting.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await starting

        in_time(lambda: asyncio.run(cancelled()))
        self.assertEqual(threads(), [])

    def test_closed_is_the_last_event(self):
        client = self.client()
        client.close()
        client._tell_error("watch", lingpai.RpcError("UNAVAILABLE", "late"), 0.0)
        self.told.wait(type="closed")
        with self.assertRaises(queue.Empty):
            self.told._events.get(block=False)

    def test_a_process_ends_quietly_without_it(self):
        program = f"import lingpai; lingpai.Client({self.broker.target!r}, apps=['wx1'], on_event=lambda event: print(event['type'], flush=True))"
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ended = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual((ended.returncode, ended.stderr, ended.stdout.split()), (0, "", ["state", "closed"]))


class TestUsersFunctions(WithBroker):
    def test_what_an_observer_raises_is_swallowed(self):
        for kind in (ValueError, SystemExit):
            with self.subTest(kind.__name__):

                def raises(event, kind=kind):
                    self.told(event)
                    raise kind("the observer's fault")

                with lingpai.Client(self.broker.target, apps=["wx1"], on_event=raises, timing=QUICK) as client:
                    self.broker.drain(0.001)
                    self.told.wait(type="reconnect")
                    self.assertEqual(client.stats()["state"], "LIVE")

    def test_what_a_log_handler_raises_is_swallowed(self):
        logging.disable(logging.NOTSET)
        logger = logging.getLogger("lingpai")
        for kind in (OSError, SystemExit):
            with self.subTest(kind.__name__):
                emitted = mock.Mock(level=logging.DEBUG, handle=mock.Mock(side_effect=kind("the disk is full")))
                logger.addHandler(emitted)
                self.addCleanup(logger.removeHandler, emitted)
                with mock.patch.object(logger, "level", logging.DEBUG):
                    logger.manager._clear_cache()
                    client = lingpai.Client(self.broker.target, apps=["wx1"], on_event=self.told, timing=QUICK)
                    self.addCleanup(client.close)
                    self.broker.drain(0.001)
                    self.told.wait(type="reconnect")
                    self.broker.refuse(lingpai.RpcError("PERMISSION_DENIED", "not yours"))
                    self.told.wait(type="error")
                    self.broker.refuse(None)
                    self.told.wait(type="reconnect")
                    client.close()
                logger.manager._clear_cache()
                logger.removeHandler(emitted)
                self.assertGreaterEqual(emitted.handle.call_count, 3)

    def test_an_attempt_that_fails_in_an_unforeseen_way_is_followed_by_the_next(self):
        with mock.patch.object(_client.Client, "_failed", side_effect=MemoryError):
            self.broker.refuse(lingpai.RpcError("UNAVAILABLE", "not yet"))
            client = self.client(start_optional=True)
            while client.stats()["attempts"] < 3:
                self.assertIn("lingpai-stream", threads())
        self.broker.refuse(None)
        self.told.wait(type="state", state="HELD")

    def test_an_observer_may_use_the_client_and_close_it(self):
        seen = []

        def uses(event):
            if event["type"] == "state":
                seen.append((str(client.app("wx1").token()), client.stats()["apps"]["wx1"]["tokenId"]))
            if event["type"] == "reconnect":
                client.close()
            self.told(event)

        client = lingpai.Client(self.broker.target, apps=["wx1"], on_event=uses, timing=QUICK, start_optional=True)
        self.told.wait(type="state")
        self.broker.drain(0.001)
        self.told.wait(type="closed")
        in_time(client.close)
        self.assertEqual([id for id, _ in seen], [id for _, id in seen])
        self.assertEqual(threads(), [])

    def test_an_observer_may_report_and_call_during_a_report(self):
        def refuses(token):
            raise lingpai.Rejected(40001)

        def uses(event):
            if event["type"] in ("report", "error") and not used.is_set():
                for use in (lambda: client.app("wx1").report(refused), lambda: client.app("wx1").call(refuses)):
                    try:
                        use()
                    except lingpai.LingpaiError:
                        pass
                used.set()

        def unary(method, request):
            if isinstance(answer, Exception):
                raise answer
            return answer

        cooldown = lingpai.RpcError("RESOURCE_EXHAUSTED", "too soon", reason="COOLDOWN", retry_after=60.0)
        state = {"appId": "wx1", "generation": "1", "status": "TOKEN_STATUS_EXPIRED"}
        for answer in (cooldown, lingpai.RpcError("UNAVAILABLE", "gone"), {"outcome": 4}, {"outcome": 4, "state": state}):
            with self.subTest(str(answer)):
                client = self.client()
                client._unary = unary
                refused, used = client.app("wx1").token(), threading.Event()
                client._settings = dataclasses.replace(client._settings, on_event=uses)
                try:
                    in_time(lambda refused=refused, client=client: client.app("wx1").report(refused))
                except lingpai.LingpaiError:
                    pass
                self.assertTrue(used.wait(PATIENCE), "the observer waits for its own thread")

    def test_a_key_function_that_raises_is_an_error_of_the_start(self):
        for kind in (ValueError, SystemExit):
            with self.subTest(kind.__name__), self.assertRaisesRegex(lingpai.RpcError, "UNAUTHENTICATED: the key cannot be read: no vault"):
                self.client(get_key=mock.Mock(side_effect=kind("no vault")), start_timeout=PATIENCE)

    def test_a_key_function_that_hangs_is_left_and_is_called_once(self):
        called, late = [], threading.Event()

        def hangs():
            called.append(threading.current_thread().name)
            late.wait(PATIENCE * 2)
            return "KEY"

        self.addCleanup(late.set)
        client = lingpai.Client(
            self.broker.target,
            apps=["wx1"],
            get_key=hangs,
            start_optional=True,
            on_event=self.told,
            timing=dataclasses.replace(QUICK, call=0.02),
        )
        self.addCleanup(client.close)
        for _ in range(3):
            error = self.told.wait(type="error", during="watch")
            self.assertEqual(error["message"], "UNAUTHENTICATED: the key cannot be read: it did not come in time")
        with self.assertRaisesRegex(lingpai.RpcError, "it did not come in time"):
            in_time(lambda: client.app("wx1").report(lingpai.Token("TOKEN", 0)))
        self.assertEqual(called, ["lingpai-key"])
        late.set()
        self.told.wait(type="state", state="HELD")

    def test_close_leaves_a_key_function_that_hangs(self):
        late = threading.Event()
        self.addCleanup(late.set)
        called = threading.Event()
        client = self.client(get_key=lambda: called.set() or late.wait(PATIENCE * 2) or "KEY", start_optional=True)
        called.wait(PATIENCE)
        with mock.patch.object(_client, "_CLOSE", 0.1):
            in_time(client.close)
        self.assertEqual(threads(), ["lingpai-key"])
        late.set()

    def test_updates_that_nobody_ends_do_not_end_the_stream(self):
        client = self.client()
        updates = lingpai.AsyncSource(client.app("wx1")).updates()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(updates.__anext__())
        loop.close()
        value = self.broker.rotate("wx1")
        self.told.wait(type="state", generation="2")
        self.assertEqual(client.app("wx1")(), value)
        self.assertEqual((client.stats()["state"], client.stats()["attempts"]), ("LIVE", 1))
        self.assertEqual(client.app("wx1")._listeners, frozenset())

    def test_who_listens_may_go_and_come_at_each_change(self):
        client = self.client()
        source = client.app("wx1")

        def listener():
            source._unlisten(listener)
            source._listen(listener)

        source._listen(listener)
        self.broker.rotate("wx1")
        self.told.wait(type="state", generation="2")
        self.assertEqual(client.stats()["attempts"], 1)


class TestErrors(WithBroker):
    def test_they_can_be_pickled(self):
        rpc = lingpai.RpcError("NOT_FOUND", "no such app", reason="APP_NOT_FOUND", app="wx1", retry_after=1.5)
        for error in (
            rpc,
            lingpai.NoToken("wx1", "PENDING", "words"),
            lingpai.StartTimeout(["wx1"], 10.0, rpc),
            lingpai.Rejected(40001, "words"),
            lingpai.Closed(),
            lingpai.ConfigurationError("words"),
        ):
            with self.subTest(type(error).__name__):
                again = pickle.loads(pickle.dumps(error))
                fields = {name: str(value) for name, value in vars(error).items()}
                self.assertEqual((type(again), str(again)), (type(error), str(error)))
                self.assertEqual({name: str(value) for name, value in vars(again).items()}, fields)

    def test_one_that_is_raised_again_and_again_gathers_no_tracebacks(self):
        source = self.client().app("wx1")
        self.broker.refuse(lingpai.RpcError("RESOURCE_EXHAUSTED", "too soon", reason="COOLDOWN", retry_after=60.0), "ForceRefresh")

        def business(token):
            raise lingpai.Rejected(40001)

        raised = 0
        for _ in range(10):
            for use in (lambda: source.report(source.token()), lambda: source.call(business)):
                try:  # assertRaises would take the traceback away
                    use()
                except (lingpai.RpcError, lingpai.Rejected):
                    raised += 1
        self.assertEqual(raised, 20)
        self.assertLess(len(traceback.extract_tb(source._refused[2].__traceback__)), 10)
        self.assertEqual(self.broker.reports, 1)

    def test_what_a_start_or_a_report_raises_has_no_frame_with_the_key(self):
        def bearers(error):
            frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
            return [frame.f_code.co_name for frame in frames if "bearer" in frame.f_locals]

        source = self.client(key="KEY").app("wx1")
        self.broker.refuse(lingpai.RpcError("UNAUTHENTICATED", "not this key", retry_after=60.0))
        raised = []
        for use in (
            lambda: self.client(key="KEY", start_timeout=PATIENCE),
            lambda: source.report(source.token()),
            lambda: self.broker.refuse(lingpai.RpcError("UNAVAILABLE", "not now")) or self.client(key="KEY", start_timeout=0.2),
        ):
            try:
                use()
            except lingpai.LingpaiError as error:
                raised.append(error)
        self.assertEqual([type(error).__name__ for error in raised], ["RpcError", "RpcError", "StartTimeout"])
        for error in (*raised, raised[-1].last, source._refused[2]):
            self.assertEqual((bearers(error), error.__cause__, error.__context__), ([], None, None))

    def test_an_app_that_was_not_asked_for_is_no_reason_to_open_the_stream_at_once(self):
        client = self.client()
        error = lingpai.RpcError("NOT_FOUND", "no such app", app="wx1")
        self.assertGreater(client._failed(error, [], Backoff(QUICK), None), 0.0)

    def test_a_peer_that_goes_away_in_the_handshake_is_nothing_to_mend(self):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def hang_up():
                taken, _ = server.accept()
                taken.recv(4096)
                taken.close()

            threading.Thread(target=hang_up, daemon=True).start()
            options = {**QUICK_OPTIONS, "start_timeout": PATIENCE}
            connection = connection_of(_client.settings_of(f"https://127.0.0.1:{server.getsockname()[1]}", **options))
            with self.assertRaises(lingpai.RpcError) as raised:
                connection.open()
            connection.close()
        self.assertFalse(raised.exception.needs_operator, raised.exception)
        self.assertTrue(issubclass(ssl.SSLEOFError, ssl.SSLError))


QUICK_OPTIONS = {
    **{name: None for name in ("ca", "cert", "cert_key", "key", "key_file", "get_key", "on_event")},
    **{"apps": ["wx1"], "start_optional": True, "plaintext": False, "timing": QUICK},
}


@unittest.skipUnless(hasattr(os, "fork"), "a process cannot fork here")
class TestFork(WithBroker):
    @contextmanager
    def rotating(self):
        """A token is made when a child calls ``ask``."""
        asked, asks = os.pipe()
        self.ask = lambda: os.write(asks, b"x")
        rotate = threading.Thread(target=lambda: (os.read(asked, 1), self.broker.rotate("wx1")))
        rotate.start()
        try:
            yield
        finally:
            self.ask()
            rotate.join()
            os.close(asked)
            os.close(asks)

    def child_of(self, client, work, hooks):
        if not hooks:  # as uWSGI forks
            _client._clients.discard(client)
        return in_child(work)

    def test_the_child_goes_on_with_a_stream_of_its_own(self):
        for hooks in (True, False):
            with self.subTest(hooks=hooks):
                client = self.client()
                source, before = client.app("wx1"), client.app("wx1").token().generation

                def child(client=client, source=source, before=before):
                    held = source.token().generation
                    self.ask()
                    while source.token().generation == before:
                        pass
                    state = client.stats()["state"]
                    client.close()
                    return [held, source._generation, state, threads()]

                with self.rotating():
                    self.assertEqual(self.child_of(client, child, hooks), [before, before + 1, "LIVE", []])
                client.close()

    def test_locks_that_other_threads_held_are_not_waited_for(self):
        client = self.client()
        source = client.app("wx1")
        refused = source.token()
        held, over = threading.Event(), threading.Event()

        def holds():
            with client._lock, client._telling:
                held.set()
                over.wait(PATIENCE)

        holder = threading.Thread(target=holds)
        holder.start()
        held.wait(PATIENCE)
        for use in (
            lambda: client.stats()["apps"]["wx1"]["state"],
            lambda: source.report(refused).outcome,
            lambda: next(source.updates()).id and "updated",
            lambda: client.close() or "closed",
        ):
            _client._clients.discard(client)
            self.assertIn(in_child(use), ("HELD", "STILL_VALID", "updated", "closed"))
        over.set()
        holder.join()

    def test_two_threads_of_a_child_that_look_at_once_start_one_stream(self):
        client = self.client()
        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        sys.setswitchinterval(1e-6)

        def child():
            barrier = threading.Barrier(8)
            looking = [threading.Thread(target=lambda: (barrier.wait(), client._look_at_pid())) for _ in range(8)]
            for thread in looking:
                thread.start()
            for thread in looking:
                thread.join()
            return threads()

        for _ in range(5):
            self.assertEqual(self.child_of(client, child, hooks=False), ["lingpai-expiry", "lingpai-stream"])

    def test_a_child_that_could_not_start_a_thread_starts_it_later(self):
        client = self.client()
        source = client.app("wx1")

        def child():
            with short_of("lingpai-stream"):
                client._look_at_pid()
                before = threads()
            for _ in range(65):
                source.token()
            return [before, threads()]

        self.assertEqual(self.child_of(client, child, hooks=False), [[], ["lingpai-expiry", "lingpai-stream"]])

    def test_a_key_that_the_parent_was_waiting_for_is_asked_for_anew(self):
        parent, called, late = os.getpid(), threading.Event(), threading.Event()
        self.addCleanup(late.set)

        def hangs_in_the_parent():
            if os.getpid() == parent:
                called.set()
                late.wait(PATIENCE * 2)
            return "KEY"

        client = self.client(get_key=hangs_in_the_parent, start_optional=True)
        called.wait(PATIENCE)

        def child():
            token = next(client.app("wx1").updates(PATIENCE), None)
            return token and token.generation

        self.assertEqual(self.child_of(client, child, hooks=False), 1)
        late.set()

    def test_updates_go_on_in_the_child(self):
        for hooks in (True, False):
            with self.subTest(hooks=hooks):
                client = self.client()
                updates = client.app("wx1").updates()
                next(updates)

                def child(updates=updates):
                    self.ask()
                    return next(updates).generation

                before = client.app("wx1").token().generation
                with self.rotating():
                    self.assertEqual(self.child_of(client, child, hooks), before + 1)
                client.close()

    def test_a_token_of_the_child_ends_as_the_parents_does(self):
        client = self.client()
        source = client.app("wx1")

        def child():
            at = source.token().expires_at
            return [at is not None, [due for due, _, _ in client._due].count(at)]

        self.assertEqual(in_child(child), [True, 1])

    def test_a_client_that_another_thread_is_closing_is_closed_in_the_child(self):
        client = self.client()
        client._state = "CLOSED"
        self.addCleanup(setattr, client, "_state", "LIVE")  # and is closed then

        def child():
            client.close()
            with self.assertRaises(lingpai.Closed):
                client.app("wx1").token()
            return client.stats()["state"]

        self.assertEqual(self.child_of(client, child, hooks=False), "CLOSED")


if __name__ == "__main__":
    unittest.main()
