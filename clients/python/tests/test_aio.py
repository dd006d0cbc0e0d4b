"""The same rules for asyncio: callers that are cancelled, loops that end."""

import asyncio
import gc
import logging
import unittest

from support import PATIENCE, QUICK, Told, in_time, threads

import lingpai
from lingpai.testing import FakeBroker, fixed_async_source


class TestAsync(unittest.TestCase):
    def setUp(self):
        self.broker = FakeBroker("wx1")
        self.addCleanup(self.broker.stop)
        self.told = Told()

    def client(self, *apps, **options):
        return lingpai.AsyncClient(self.broker.target, apps=apps or ["wx1"], on_event=self.told, timing=QUICK, **options)

    def run_in_time(self, work):
        """Runs a coroutine, and fails where asyncio has something to log."""
        wrong = []

        async def watched():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context["message"]))
            result = await asyncio.wait_for(work(), PATIENCE)
            gc.collect()
            await asyncio.sleep(0)
            return result

        result = in_time(lambda: asyncio.run(watched()))
        self.assertEqual(wrong, [])
        return result

    async def sends(self, token):
        await asyncio.sleep(0)
        if not self.broker.honours("wx1", token):
            raise lingpai.Rejected(40001)
        return "sent"

    def test_a_dead_token_is_cured_once_for_all_callers(self):
        async def work():
            async with self.client() as client:
                source = client.app("wx1")
                self.broker.kill("wx1")
                sent = await asyncio.gather(*(source.call(self.sends) for _ in range(10)))
                return sent, source.token().generation, client.stats()["reports"]

        self.assertEqual(self.run_in_time(work), (["sent"] * 10, 2, 1))
        self.assertEqual(threads(), [])

    def test_a_report_that_fails_leaves_the_users_error_and_no_line(self):
        self.broker.refuse(lingpai.RpcError("RESOURCE_EXHAUSTED", "too soon", reason="COOLDOWN"), "ForceRefresh")

        async def work():
            async with self.client() as client:
                source = client.app("wx1")
                self.broker.kill("wx1")
                with self.assertRaises(lingpai.Rejected):
                    await source.call(self.sends)
                with self.assertRaisesRegex(lingpai.RpcError, "COOLDOWN"):
                    await source.report(source.token())

        self.run_in_time(work)

    def test_still_valid_leaves_the_users_error(self):
        async def work():
            source = fixed_async_source("wx1", "TOKEN")

            async def business(token):
                raise lingpai.Rejected(42001)

            with self.assertRaisesRegex(lingpai.Rejected, "42001"):
                await source.call(business)
            return source.token().value, source()

        self.assertEqual(self.run_in_time(work), ("TOKEN", "TOKEN"))

    def test_who_is_cancelled_leaves_the_report_to_those_that_share_it(self):
        async def work():
            async with self.client() as client:
                source = client.app("wx1")
                unary, waits, goes_on = source._source._client._unary, asyncio.Event(), asyncio.Event()
                loop = asyncio.get_running_loop()

                def slow(method, request):
                    loop.call_soon_threadsafe(waits.set)
                    asyncio.run_coroutine_threadsafe(goes_on.wait(), loop).result(PATIENCE)
                    return unary(method, request)

                source._source._client._unary = slow
                self.broker.kill("wx1")
                refused = source.token()
                impatient = [asyncio.ensure_future(source.call(self.sends)), asyncio.ensure_future(source.report(refused))]
                patient = asyncio.ensure_future(source.call(self.sends))
                await waits.wait()
                for caller in impatient:
                    caller.cancel()
                for caller in impatient:
                    with self.assertRaises(asyncio.CancelledError):
                        await caller
                goes_on.set()
                return await patient, client.stats()["reports"]

        self.assertEqual(self.run_in_time(work), ("sent", 1))

    def test_updates_end_with_the_client(self):
        async def work():
            seen, closing = [], []
            async with self.client() as client:
                async for token in client.app("wx1").updates():
                    seen.append(token.generation)
                    if len(seen) == 1:
                        self.broker.rotate("wx1")
                    else:
                        closing.append(asyncio.ensure_future(client.close()))
            return seen

        self.assertEqual(self.run_in_time(work), [1, 2])

    def test_a_start_that_fails_leaves_nothing_behind(self):
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

        async def work():
            with self.assertRaisesRegex(lingpai.RpcError, "NOT_FOUND"):
                async with self.client("wx9"):
                    pass
            async with self.client("wx9", start_optional=True) as client:
                with self.assertRaises(lingpai.NoToken):
                    client.app("wx9").token()
            with self.assertRaises(RuntimeError):
                self.client().stats()

        self.run_in_time(work)
        self.assertEqual(threads(), [])


if __name__ == "__main__":
    unittest.main()
