use std::collections::BTreeSet;

use super::{builder, ms, quick, soon, APP};
use crate::gen::{Token, TokenState};
use crate::testing::FakeBroker;
use crate::{Client, Error, Event, Reason, Timing};

fn reason(client: &Client, app: &str) -> Reason {
    match client.app(app).unwrap().token() {
        Err(Error::NoToken { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

fn is_reconnect(event: &Event) -> Option<()> {
    matches!(event, Event::Reconnect).then_some(())
}

#[tokio::test]
async fn a_rotation_is_in_memory_and_the_token_outlives_the_broker() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (options, mut told) = builder(&broker.target(), &[APP]);
    let client = options.build().await.unwrap();
    let source = client.app(APP).unwrap();
    let value = broker.rotate(APP);
    let held = soon(source.wait_for(2)).await.unwrap();
    assert_eq!((held.value(), held.previous().is_some()), (value.as_str(), true));
    broker.stop();
    let (code, _, _) = told.error().await;
    assert_eq!((code, client.stats().state), ("UNAVAILABLE", "STALE"));
    assert_eq!(source.token().unwrap().value(), value);
    broker.rotate(APP);
    broker.resume();
    soon(source.wait_for(3)).await.unwrap();
    let stats = client.stats();
    assert_eq!((stats.state, stats.reconnects), ("LIVE", 1));
}

#[tokio::test]
async fn r4_a_start_names_the_app_that_is_not_known_and_leaves_nothing_behind() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (options, _told) = builder(&broker.target(), &[APP, "wx9"]);
    let error = options.build().await.err().unwrap();
    assert!(matches!(&error, Error::Rpc(rpc) if rpc.code == "NOT_FOUND" && rpc.app == "wx9"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn r4_a_start_ends_in_time_and_says_what_went_wrong() {
    let (options, _told) = builder("127.0.0.1:1", &["wx2", APP]);
    let error = options.start_timeout(ms(500)).build().await.err().unwrap();
    let words = error.to_string();
    assert!(words.starts_with("no token of wx1, wx2 in time: UNAVAILABLE: no connection to http://127.0.0.1:1: "), "{words}");
    assert_eq!(words.matches("onnection refused").count(), 1, "{words}");
}

#[tokio::test]
async fn r10_an_unknown_app_is_left_out_asked_for_and_taken_up_again() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (options, mut told) = builder(&broker.target(), &[APP, "wx9"]);
    let client = options.start_optional().build().await.unwrap();
    soon(client.app(APP).unwrap().wait_for(1)).await.unwrap();
    let error = client.app("wx9").unwrap().token().unwrap_err();
    assert_eq!(error.to_string(), "no token of wx9: NOT_FOUND, no such app"); // the broker's words beside the reason
    assert_eq!(told.error().await.2, ms(0));
    broker.add("wx9");
    let other = client.app("wx9").unwrap();
    soon(other.wait_for(1)).await.unwrap();
    broker.rotate("wx9"); // by the stream, which has it again
    soon(other.wait_for(2)).await.unwrap();
    assert_eq!(client.stats().reconnects, 0);
}

#[tokio::test]
async fn r10_a_refusal_that_names_an_app_which_was_not_asked_for_is_a_failure_like_others() {
    let broker = FakeBroker::start([APP, "wx2"]).await.unwrap();
    broker.refuse_for(APP);
    let (options, mut told) = builder(&broker.target(), &[APP, "wx2"]);
    let client = options.timing(Timing { app_retry: ms(600_000), ..quick() }).start_optional().build().await.unwrap();
    assert_eq!(told.error().await.2, ms(0)); // wx1 is left out
    for _ in 0..3 {
        let (code, _, pause) = told.error().await;
        assert_eq!((code, pause >= quick().backoff_floor), ("NOT_FOUND", true), "{pause:?}");
    }
    assert_eq!(*client.handle.inner.running.borrow(), 2); // the stream, and one who asks for wx1
    assert_eq!(reason(&client, "wx2"), Reason::Waiting);
}

#[tokio::test]
async fn r10_where_no_app_is_left_it_still_asks() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (options, mut told) = builder(&broker.target(), &["wx9"]);
    let client = options.start_optional().build().await.unwrap();
    told.error().await;
    broker.add("wx9");
    broker.rotate("wx9");
    soon(client.app("wx9").unwrap().wait_for(2)).await.unwrap();
    broker.rotate("wx9");
    soon(client.app("wx9").unwrap().wait_for(3)).await.unwrap();
}

#[tokio::test]
async fn r2_an_app_that_was_removed_and_is_back_begins_anew() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    broker.rotate(APP);
    let client = builder(&broker.target(), &[APP]).0.build().await.unwrap();
    let source = client.app(APP).unwrap();
    let mut changes = source.updates();
    changes.borrow_and_update();
    broker.remove(APP);
    soon(changes.changed()).await.unwrap();
    assert_eq!(reason(&client, APP), Reason::Removed);
    broker.add(APP);
    assert_eq!(soon(source.wait_for(1)).await.unwrap().generation(), 1);
}

#[tokio::test]
async fn r7_a_goaway_is_waited_for_and_is_no_failure() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (options, mut told) = builder(&broker.target(), &[APP]);
    let client = options.build().await.unwrap();
    broker.drain(ms(0));
    let after = |event: &Event| if let Event::Goaway { after } = event { Some(*after) } else { None };
    assert_eq!(told.first(after).await, quick().backoff_floor);
    assert_eq!(client.stats().state, "STALE");
    told.first(is_reconnect).await;
    let stats = client.stats();
    assert_eq!((stats.goaways, stats.reconnects, stats.attempts), (1, 1, 2));
}

#[tokio::test]
async fn r8_retry_info_is_waited_for_and_up_to_a_fifth_more() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    broker.refuse("RESOURCE_EXHAUSTED", "TOO_MANY_WATCHERS", ms(7_000));
    let (options, mut told) = builder(&broker.target(), &[APP]);
    let _client = options.start_optional().build().await.unwrap();
    let (_, _, pause) = told.error().await;
    assert!(pause >= ms(7_000) && pause <= ms(8_400), "{pause:?}");
}

#[tokio::test]
async fn r9_what_somebody_must_mend_is_asked_for_seldom_and_the_token_is_served() {
    for code in ["UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"] {
        let broker = FakeBroker::start([APP]).await.unwrap();
        let (options, mut told) = builder(&broker.target(), &[APP]);
        let client = options.build().await.unwrap();
        broker.refuse(code, "", ms(0));
        broker.drain(ms(0));
        let (seen, _, pause) = told.error().await;
        assert_eq!(seen, code);
        assert!(pause >= ms(30_000) && pause <= ms(36_000), "{code}: {pause:?}");
        assert!(client.app(APP).unwrap().token().is_ok());
    }
}

#[tokio::test]
async fn r5_pauses_differ_and_stay_in_their_bounds() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    broker.stop();
    let (options, mut told) = builder(&broker.target(), &[APP]);
    let _client = options.start_optional().build().await.unwrap();
    let mut pauses = BTreeSet::new();
    for _ in 0..8 {
        pauses.insert(told.error().await.2);
    }
    assert!(*pauses.first().unwrap() >= quick().backoff_floor && *pauses.last().unwrap() <= quick().backoff_cap, "{pauses:?}");
    assert!(pauses.len() > 4, "{pauses:?}");
}

#[tokio::test]
async fn r6_a_silent_stream_is_given_up_with_its_connection() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (options, mut told) = builder(&broker.target(), &[APP]);
    let client = options.timing(Timing { silence: ms(300), ..quick() }).build().await.unwrap();
    let (code, words, _) = told.error().await;
    assert_eq!((code, words.as_str()), ("UNAVAILABLE", "UNAVAILABLE: nothing came for 300ms: the connection must be dead"));
    told.first(is_reconnect).await;
    assert!(client.app(APP).unwrap().token().is_ok());
}

#[tokio::test]
async fn r6_an_attempt_is_given_up_where_nobody_answers() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(); // it accepts nothing, the system does
    let (options, mut told) = builder(&listener.local_addr().unwrap().to_string(), &[APP]);
    let _client = options.timing(Timing { silence: ms(200), ..quick() }).start_optional().build().await.unwrap();
    assert_eq!(told.error().await.1, "UNAVAILABLE: nothing came for 200ms: the connection must be dead");
}

#[tokio::test]
async fn who_dials_another_port_is_asked_which_it_is() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        tokio::io::copy(&mut &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..], &mut socket).await.unwrap();
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
    });
    let (options, mut told) = builder(&target, &[APP]);
    let _client = options.start_optional().build().await.unwrap();
    let (_, words, _) = told.error().await;
    assert!(words.contains("is this the broker's gRPC port"), "{words}");
}

#[tokio::test]
async fn r18_a_value_that_is_too_long_ends_the_stream_and_the_token_held_is_served() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (options, mut told) = builder(&broker.target(), &[APP]);
    let client = options.build().await.unwrap();
    let current = Some(Token { value: "SECRET".repeat(400), ..Token::default() });
    broker.tell(TokenState { app_id: APP.into(), generation: 9, current, ..TokenState::default() });
    let (code, words, pause) = told.error().await;
    assert_eq!((code, words.as_str()), ("INTERNAL", "INTERNAL: a token of 2400 characters: the broker promises 1 to 2048"));
    assert!(pause <= quick().backoff_cap);
    assert_eq!(client.app(APP).unwrap().token().unwrap().generation(), 1);
    told.first(is_reconnect).await;
}

#[tokio::test]
async fn r15_close_wakes_who_waits_and_may_be_called_again() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let client = builder(&broker.target(), &[APP]).0.build().await.unwrap();
    let source = client.app(APP).unwrap();
    let waits = tokio::spawn({
        let source = source.clone();
        async move { source.wait_for(2).await }
    });
    tokio::task::yield_now().await;
    client.close().await;
    assert_eq!(*client.handle.inner.running.borrow(), 0);
    client.close().await;
    assert!(matches!(soon(waits).await.unwrap(), Err(Error::Closed)));
    assert!(matches!(source.token(), Err(Error::Closed)));
    assert_eq!(client.stats().state, "CLOSED");
}

#[tokio::test]
async fn r15_the_last_drop_ends_the_client_and_no_drop_before_it() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (options, mut told) = builder(&broker.target(), &[APP]);
    let client = options.build().await.unwrap();
    let source = client.app(APP).unwrap();
    let mut running = client.handle.inner.running.subscribe();
    drop(client);
    broker.rotate(APP);
    soon(source.wait_for(2)).await.unwrap();
    drop(source);
    soon(running.wait_for(|count| *count == 0)).await.unwrap();
    told.first(|event| matches!(event, Event::Closed).then_some(())).await;
}

#[tokio::test]
async fn an_option_that_is_wrong_is_named_with_what_to_write() {
    let build = |options: crate::ClientBuilder| async move { options.build().await.err().unwrap().to_string() };
    let of = |target: &str| Client::builder(target).app(APP);
    let no_key = "key is no key: write what `lingpai keys create` printed, and nothing else";
    for (options, words) in [
        (of("broker"), "target broker is no address: write HOST:PORT, http://HOST:PORT or https://HOST:PORT"),
        (of("ftp://broker:7600"), "target ftp://broker:7600 is no address: write HOST:PORT, http://HOST:PORT or https://HOST:PORT"),
        (Client::builder("broker:7600"), "there are 0 apps: name 1 to 10000"),
        (of("broker:7600").app("wx 2"), "app \"wx 2\": an app id has 1 to 64 characters of A-Z, a-z, 0-9, - and _"),
        (of("127.0.0.1:1").key(""), no_key),
        (of("127.0.0.1:1").key("two words"), no_key),
        (of("127.0.0.1:1").key_file(""), "key_file is empty: write the path of a file"),
        (of("127.0.0.1:1").ca(""), "ca is empty: write the path of a file"),
        (of("127.0.0.1:1").certificate("", "client.key"), "certificate is empty: write the path of a file"),
        (of("127.0.0.1:1").certificate("client.pem", ""), "certificate is empty: write the path of a file"),
        (of("127.0.0.1:1").start_timeout(ms(0)), "start_timeout is 0: write more, or start_optional where the start waits for nothing"),
        (of("http://127.0.0.1:1").ca("a"), "ca is given, but http://127.0.0.1:1 is without TLS: write https://127.0.0.1:1"),
        (of("127.0.0.1:1").key("K").key_file("F"), "key, key_file and key_callback are given together: give one of them"),
        (
            of("broker:7600").key("K"),
            "the key would go to broker:7600 unencrypted: write https://broker:7600, or set plaintext where nobody can listen in between",
        ),
    ] {
        assert_eq!(build(options).await, words);
    }
}
