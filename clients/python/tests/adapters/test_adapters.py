"""The adapters with the real SDKs, before a WeChat and a broker in this process."""

import io
import threading
import traceback
import unittest
from unittest import mock

import requests
import werobot
import werobot.client
from wechat import WeChat, led_to
from wechatpy.exceptions import WeChatClientException

import lingpai
from lingpai.adapters.wechatpy import LingpaiClient as Wechatpy
from lingpai.adapters.werobot import use_lingpai
from lingpai.testing import FakeBroker, fixed_source

APP = "wx00sdk00000000001"
CONTENT = {"first": {"value": "hello"}}


class Pipe(io.BytesIO):
    def seekable(self):
        return False


class Adapter:
    """What is tried with each SDK. A subclass has ``make`` and how the SDK is called."""

    def setUp(self):
        self.broker = FakeBroker(APP)
        self.addCleanup(self.broker.stop)
        self.wechat = WeChat(self.broker, APP)
        self.addCleanup(self.wechat.stop)
        self.client = lingpai.Client(self.broker.target, apps=[APP])
        self.addCleanup(self.client.close)
        self.source = self.client.app(APP)
        self.sdk = self.make(self.source)

    def tokens(self):
        return [token for _, token, _ in self.wechat.asked]

    def test_a_call_has_the_brokers_token(self):
        self.message()
        self.assertEqual(self.tokens(), [self.source()])
        value = self.broker.rotate(APP)
        next(token for token in self.source.updates(10.0) if token.value == value)
        self.message()
        self.assertEqual(self.tokens()[1:], [value])

    def test_a_dead_token_is_cured_at_the_first_call(self):
        for errcode in (40001, 40014, 42001):
            with self.subTest(errcode):
                self.wechat.errcode, dead = errcode, self.source()
                self.broker.kill(APP)
                del self.wechat.asked[:]
                self.message()
                self.assertEqual(self.tokens(), [dead, self.source()])
                self.message()
                self.assertEqual(len(self.tokens()), 3)
        self.assertEqual(self.client.stats()["reports"], 3)

    def test_ten_callers_make_one_report(self):
        self.broker.kill(APP)
        barrier, failed, dead = threading.Barrier(10), [], self.source()

        def caller():
            barrier.wait(10.0)
            try:
                self.message()
            except Exception as error:
                failed.append(error)

        callers = [threading.Thread(target=caller) for _ in range(10)]
        for thread in callers:
            thread.start()
        for thread in callers:
            thread.join()
        self.assertEqual((failed, self.broker.reports), ([], 1))
        self.assertEqual(len(self.tokens()), 10 + self.tokens().count(dead))

    def test_where_wechat_accepts_the_token_the_sdks_error_is_raised_and_that_is_all(self):
        refusal = {"errcode": 40001, "errmsg": "not for this account"}
        with mock.patch.object(self.wechat, "answer", return_value=refusal) as asked, self.refused(40001):
            self.message()
        self.assertEqual((asked.call_count, self.broker.reports), (1, 1))

    def test_where_the_report_fails_the_sdks_error_is_raised(self):
        self.broker.kill(APP)
        self.broker.refuse(lingpai.RpcError("RESOURCE_EXHAUSTED", "too soon", reason="COOLDOWN", retry_after=60.0), "ForceRefresh")
        for _ in range(3):
            with self.refused(40001):
                self.message()
        self.assertEqual((len(self.tokens()), self.broker.reports), (3, 1))

    def test_another_error_is_not_about_the_token(self):
        with mock.patch.object(self.wechat, "answer", return_value={"errcode": 40003, "errmsg": "invalid openid"}), self.refused(40003):
            self.message()
        self.assertEqual(self.broker.reports, 0)

    def test_a_second_refusal_is_the_last(self):
        with mock.patch.object(self.broker, "honours", return_value=False), self.refused(40001):
            self.broker.kill(APP)
            self.message()
        self.assertEqual(len(self.tokens()), 2)

    def test_a_file_is_sent_again_whole(self):
        self.broker.kill(APP)
        file = io.BytesIO(b"head the whole file")
        file.seek(5)
        self.upload(file)
        (_, _, one), (_, _, other) = self.wechat.asked
        self.assertEqual([body.count(b"\r\n\r\nthe whole file\r\n") for body in (one, other)], [1, 1])

    def test_a_file_that_is_read_up_is_not_sent_again(self):
        self.broker.kill(APP)
        pipe = Pipe(b"piped")
        with self.refused(40001):
            self.upload(pipe)
        self.assertEqual(len(self.tokens()), 1)
        self.message()
        self.assertEqual(self.tokens()[1:], [self.source()])

    def test_an_error_says_no_token(self):
        ours, theirs = self.source(), "_".join(("A", "USERS"))

        def of_a_user():
            self.sdk.get("https://api.weixin.qq.com/sns/userinfo", params={"access_token": theirs, "openid": "o"})

        uses = [self.message, of_a_user, *self.more_uses()]

        def raised():
            for use in uses:
                try:
                    use()
                except Exception:
                    yield traceback.format_exc()

        with mock.patch.object(self.wechat, "status", 502):
            shown = list(raised())
        self.wechat.stop()
        shown += raised()
        self.assertGreaterEqual(len(shown), 2 + len(uses))
        self.assertIn("access_token=***", "".join(shown))
        for text in shown:
            self.assertNotIn(ours, text)
            self.assertNotIn(theirs, text)

    def test_a_token_that_is_not_the_brokers_is_none_of_its_business(self):
        with self.refused(40001):
            self.sdk.get("https://api.weixin.qq.com/sns/userinfo", params={"access_token": "A_USERS", "openid": "o"})
        self.assertEqual((self.tokens(), self.broker.reports), (["A_USERS"], 0))

    def test_no_token_is_asked_of_wechat(self):
        self.assertEqual(self.granted()["access_token"], self.source())
        self.assertLessEqual(self.granted()["expires_in"], 7200)
        self.broker.kill(APP)
        self.message()
        self.assertEqual([path for path, _, _ in self.wechat.asked if "token" in path], [])

    def test_without_a_token_a_call_says_why(self):
        sdk = self.make(fixed_source(APP))
        with self.assertRaisesRegex(lingpai.NoToken, "PENDING"):
            self.message(sdk)
        self.assertEqual(self.wechat.asked, [])


class TestWechatpy(Adapter, unittest.TestCase):
    def make(self, source):
        sdk = Wechatpy(source)
        led_to(sdk._http, self.wechat.url)
        return sdk

    def more_uses(self):
        return [lambda: self.sdk.customservice.delete_account("kf@test"), lambda: self.sdk.media.download("M")]

    def refused(self, errcode):
        return self.assertRaisesRegex(WeChatClientException, f"Error code: {errcode}")

    def message(self, sdk=None):
        self.assertEqual((sdk or self.sdk).message.send_template("oUser", "T1", CONTENT)["msgid"], 7)

    def upload(self, file):
        return self.sdk.media.upload("image", file)

    def granted(self):
        return self.sdk.fetch_access_token()

    def test_every_way_to_give_a_token_is_cured(self):
        for use in (
            lambda: self.sdk.material.add("image", io.BytesIO(b"jpg")),  # with params
            lambda: self.sdk.customservice.delete_account("kf@test"),  # with text
            lambda: self.sdk.jsapi.get_jsapi_ticket(),  # with a session
            lambda: self.sdk.card.get_colors(),  # below another base
            lambda: self.sdk.media.download("M"),  # for a file
        ):
            self.broker.kill(APP)
            del self.wechat.asked[:]
            use()
            self.assertEqual(len(self.tokens()), 2)
            self.assertEqual(self.tokens()[1], self.source())
        self.assertIn(self.source(), self.sdk.media.get_url("M"))


class TestWerobot(Adapter, unittest.TestCase):
    def make(self, source):
        session = led_to(requests.Session(), self.wechat.url)
        patched = mock.patch.object(werobot.client, "requests", session)
        patched.start()
        self.addCleanup(patched.stop)
        robot = werobot.WeRoBot(app_id=APP, token="t", session_storage=False)
        made = use_lingpai(robot, source)
        self.assertIs(robot.client, made)
        return made

    def more_uses(self):
        return [lambda: self.sdk.download_media("M"), lambda: self.sdk.upload_permanent_video("t", "i", io.BytesIO(b"mp4"))]

    def refused(self, errcode):
        return self.assertRaisesRegex(werobot.client.ClientException, f"{errcode}: ")

    def message(self, sdk=None):
        self.assertEqual((sdk or self.sdk).send_template_message("oUser", "T1", CONTENT)["msgid"], 7)

    def upload(self, file):
        return self.sdk.upload_media("image", file)

    def granted(self):
        return self.sdk.grant_token()

    def test_every_way_to_give_a_token_is_cured(self):
        for use in (
            lambda: self.sdk.upload_custom_service_account_avatar("kf@test", b"jpg"),  # with params
            lambda: self.sdk.get_ip_list(),  # without
            lambda: self.assertIn(b"jpg", self.sdk.download_media("M").content),  # without its own request
            lambda: self.assertIn(b"jpg", self.sdk.download_permanent_media("M").content),
            lambda: self.assertEqual(self.sdk.upload_permanent_video("t", "i", io.BytesIO(b"mp4")).json()["media_id"], "M"),
        ):
            self.broker.kill(APP)
            del self.wechat.asked[:]
            use()
            self.assertEqual(len(self.tokens()), 2)
            self.assertEqual(self.tokens()[1], self.source())
        self.assertEqual([b"mp4" in body for _, _, body in self.wechat.asked], [True, True])

    def test_an_answer_that_is_returned_as_it_is_is_returned_where_nothing_helps(self):
        self.broker.kill(APP)
        self.broker.refuse(lingpai.RpcError("UNAVAILABLE", "not now"), "ForceRefresh")
        self.assertEqual(self.sdk.download_media("M").json()["errcode"], 40001)


if __name__ == "__main__":
    unittest.main()
