"""Python -m unittest discover -s tests, in the folder of the library."""

import pickle
import tempfile
import unittest
from pathlib import Path

import support  # noqa: F401 - where the library is

import lingpai
from lingpai._backoff import Backoff
from lingpai._connect import _error_of, _object
from lingpai._options import settings_of
from lingpai._source import _seconds, _unsigned

OPTIONS = {
    "apps": ["wx1"],
    "start_timeout": 10.0,
    "start_optional": False,
    "ca": None,
    "cert": None,
    "cert_key": None,
    "key": None,
    "key_file": None,
    "get_key": None,
    "plaintext": False,
    "on_event": None,
    "timing": None,
}


class TestBackoff(unittest.TestCase):
    def test_it_grows_to_the_cap_and_is_small_again_after_a_good_stream(self) -> None:
        backoff = Backoff(lingpai.Timing(), lambda: 1.0)
        lost = lingpai.RpcError("UNAVAILABLE", "")
        pauses = [backoff.after(lost, lived) for lived in (1.0, 1.0, None, None, None, None, 10.0)]
        self.assertEqual(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 0.5])
        backoff.ended(10.0)
        self.assertEqual(backoff.after(lost, None), 0.5)

    def test_it_is_never_shorter_than_the_floor_or_retry_info(self) -> None:
        backoff = Backoff(lingpai.Timing(), lambda: 0.0)
        for asked, pause in ((0.0, 0.1), (3.0, 3.0), (3600.0, 300.0)):
            self.assertEqual(backoff.after(lingpai.RpcError("UNAVAILABLE", "", retry_after=asked), None), pause)

    def test_it_is_slow_for_what_somebody_must_mend(self) -> None:
        backoff = Backoff(lingpai.Timing(), lambda: 0.0)
        refused = lingpai.RpcError("UNAUTHENTICATED", "")
        self.assertEqual([backoff.after(refused, None) for _ in range(5)], [30.0, 60.0, 120.0, 240.0, 300.0])
        self.assertEqual(backoff.after(lingpai.RpcError("UNAUTHENTICATED", "", reason="CREDENTIALS_EXPIRED"), 0.0), 0.1)

    def test_a_failure_of_the_other_lane_makes_no_pause_short(self) -> None:
        backoff = Backoff(lingpai.Timing(), lambda: 1.0)
        lost, refused = lingpai.RpcError("UNAVAILABLE", ""), lingpai.RpcError("UNAUTHENTICATED", "")
        self.assertEqual([backoff.after(error, None) for error in (lost, lost, refused, lost, refused)], [0.5, 1.0, 36.0, 2.0, 72.0])
        backoff.ended(10.0)
        self.assertEqual([backoff.after(error, None) for error in (refused, lost)], [36.0, 0.5])


class TestToken(unittest.TestCase):
    def test_what_prints_it_prints_its_id(self) -> None:
        token = lingpai.Token("SECRET", 7)
        for printed in (str(token), repr(token), f"{token} {token!r} {[token]}"):
            self.assertNotIn("SECRET", printed)
            self.assertIn("0917b13a9091", printed)
        with self.assertRaises(TypeError):
            pickle.dumps(token)


class TestOptions(unittest.TestCase):
    def test_errors_say_what_to_write(self) -> None:
        for target, options, words in (
            ("broker", {}, "write http://HOST:PORT"),
            (None, {}, "target is None: write http://HOST:PORT"),
            ("http://broker", {}, "write http://HOST:PORT"),
            ("ftp://broker:1", {}, "write http://HOST:PORT"),
            ("http://broker:7680", {"apps": []}, "1 to 10000"),
            ("http://broker:7680", {"apps": ["a b"]}, "'a b'"),
            ("http://broker:7680", {"apps": [7]}, "apps has 7"),
            ("http://broker:7680", {"apps": "wx1"}, "must be a list"),
            ("http://broker:7680", {"start_timeout": 0}, "start_timeout is 0: write"),
            ("http://broker:7680", {"start_timeout": "1"}, "start_timeout is '1': write"),
            ("https://broker:7680", {"key": "a", "key_file": "b"}, "give one of them"),
            ("http://broker:7680", {"key": "a"}, "write https://broker:7680"),
            ("https://broker:7680", {"cert": "a"}, "give both"),
            ("http://broker:7680", {"ca": "a"}, "ca is given, but http://broker:7680 is without TLS: write https://broker:7680"),
        ):
            with self.subTest(words), self.assertRaisesRegex(lingpai.ConfigurationError, words):
                settings_of(target, **{**OPTIONS, **options})
        self.assertEqual(settings_of("http://[::1]:7680", **{**OPTIONS, "key": "a"}).host, "::1")

    def test_a_key_file_is_read_at_each_attempt_and_named_where_it_is_wrong(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "orders.key"
            settings = settings_of("https://broker:7680", **{**OPTIONS, "key_file": str(path)})
            for text, words in (("", "it is empty"), ("two words", "characters that a key does not have"), ("\xff", "characters")):
                path.write_text(text, encoding="utf-8")
                with (
                    self.subTest(text),
                    self.assertRaisesRegex(lingpai.RpcError, f"UNAUTHENTICATED: the key cannot be read: .*{words}.*orders.key") as raised,
                ):
                    settings.bearer()
                self.assertTrue(raised.exception.needs_operator)
            path.write_text("KEY1\n", encoding="utf-8")
            self.assertEqual(settings.bearer(), "KEY1")
            path.write_text("KEY2\n", encoding="utf-8")
            self.assertEqual(settings.bearer(), "KEY2")

    def test_a_key_function_that_gives_no_text_gives_no_key(self) -> None:
        for given in (None, b"SECRET", 7):
            settings = settings_of("https://broker:7680", **{**OPTIONS, "get_key": lambda given=given: given})
            words = f"UNAUTHENTICATED: the key cannot be read: get_key gave {type(given).__name__}, not str"
            with self.subTest(words), self.assertRaisesRegex(lingpai.RpcError, words) as raised:
                settings.bearer()
            self.assertTrue(raised.exception.needs_operator)

    def test_a_password_in_a_target_is_not_in_the_error(self) -> None:
        for target in ("http://user:SECRET@broker:7680", "user:SEC/SECRET@broker:7680", "http://SEC@SECRET@broker:7680"):
            with self.subTest(target), self.assertRaisesRegex(lingpai.ConfigurationError, r"target '\*\*\*@broker:7680' is no") as raised:
                settings_of(target, **OPTIONS)
            self.assertNotIn("SEC", str(raised.exception))

    def test_a_key_is_not_in_what_is_printed(self) -> None:
        self.assertNotIn("SECRET", repr(settings_of("https://broker:7680", **{**OPTIONS, "key": "SECRET"})))


class TestAnswers(unittest.TestCase):
    def test_what_is_no_message_is_an_error(self) -> None:
        for text in (b"", b"[]", b"{", b"\xff", b"[" * 100_000):
            with self.subTest(text[:3]), self.assertRaises(lingpai.RpcError):
                _object(text)
        for number in ("-1", str(1 << 64), "x", [1]):
            with self.subTest(number), self.assertRaises(ValueError):
                _unsigned(number)
        self.assertEqual(_unsigned(str((1 << 64) - 1)), (1 << 64) - 1)

    def test_times(self) -> None:
        self.assertEqual(_seconds("1970-01-01T00:00:01.500Z"), 1.5)
        self.assertEqual(_seconds("2026-01-15T04:00:00.123456789Z"), 1768449600.123456789)
        self.assertIsNone(_seconds(None))
        for time in ("soon", "", 7, "2026-13-40T04:00:00+08:00", "2026-00-15T04:00:00Z", "0000-01-15T04:00:00Z"):
            with self.subTest(time), self.assertRaises(ValueError):
                _seconds(time)

    def test_details_that_cannot_be_read_say_nothing(self) -> None:
        details = [{"type": "google.rpc.ErrorInfo", "value": value} for value in ("//", "CgD/", "Cv8=", 7)]
        error = _error_of({"code": "not_found", "message": "words", "details": [*details, {}, None]}, "UNKNOWN")
        self.assertEqual((error.code, error.reason, error.app), ("NOT_FOUND", "", ""))


if __name__ == "__main__":
    unittest.main()
