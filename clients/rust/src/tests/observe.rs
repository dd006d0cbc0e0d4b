use std::sync::{Arc, Mutex, OnceLock};

use tokio::runtime;
use tokio::time::Instant;

use super::{builder, ms, soon, Log, APP};
use crate::client::Inner;
use crate::testing::FakeBroker;
use crate::{Client, Event};

#[tokio::test]
async fn r17_an_observer_that_panics_changes_nothing() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observe = {
        let seen = Arc::clone(&seen);
        move |event: Event| {
            seen.lock().unwrap().push(event);
            std::panic::resume_unwind(Box::new("the observer's own trouble"));
        }
    };
    let client = builder(&broker.target(), &[APP]).0.on_event(observe).build().await.unwrap();
    let source = client.app(APP).unwrap();
    let value = broker.rotate(APP);
    assert_eq!(soon(source.wait_for(2)).await.unwrap().value(), value);
    client.close().await;
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let states = seen.iter().filter(|event| matches!(event, Event::State { is_held: true, .. })).count();
    assert_eq!((states, matches!(seen.last(), Some(Event::Closed))), (2, true), "{seen:?}");
}

#[tokio::test]
async fn r17_an_observer_may_use_the_client() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let slot = Arc::new(OnceLock::<Client>::new());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observe = {
        let (slot, seen) = (Arc::clone(&slot), Arc::clone(&seen));
        move |event: Event| {
            let Some(client) = slot.get() else { return };
            let held = client.app(APP).unwrap().token().map(|token| token.generation()).ok();
            seen.lock().unwrap().push((format!("{event:?}").split(' ').next().unwrap().to_owned(), held, client.stats().state));
        }
    };
    let client = builder(&broker.target(), &[APP]).0.on_event(observe).build().await.unwrap();
    slot.set(client.clone()).ok().unwrap();
    broker.rotate(APP);
    soon(client.app(APP).unwrap().wait_for(2)).await.unwrap();
    client.close().await;
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen, [("State".into(), Some(2), "LIVE"), ("Closed".into(), None, "CLOSED")]);
}

#[tokio::test(start_paused = true)]
async fn r15_close_does_not_wait_for_a_task_that_panicked() {
    let (options, _told) = builder("127.0.0.1:1", &[APP]);
    let inner = Inner::new(options, Some(runtime::Handle::current()));
    inner.spawn(async { std::panic::resume_unwind(Box::new("a task's trouble")) });
    let client = Client { handle: Arc::new(crate::client::Handle { inner }) };
    let began = Instant::now();
    client.close().await;
    assert_eq!(began.elapsed(), ms(0));
}

#[tokio::test]
async fn r9_a_key_callback_that_panics_is_a_key_that_cannot_be_read() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (options, mut told) = builder(&broker.target(), &[APP]);
    let key = || std::panic::resume_unwind(Box::new("the callback's own trouble"));
    let client = options.key_callback(key).start_optional().build().await.unwrap();
    let (code, message, pause) = told.error().await;
    assert_eq!((code, message.as_str()), ("UNAUTHENTICATED", "UNAUTHENTICATED: the key cannot be read: key_callback panicked"));
    assert!(pause >= ms(30_000));
    client.close().await;
}

#[tokio::test]
async fn r17_a_line_tells_of_a_lost_and_a_regained_stream_and_a_warning_of_three_failures() {
    Log::lines();
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (options, mut told) = builder(&broker.target(), &[APP]);
    let _client = options.build().await.unwrap();
    assert_eq!(Log::lines(), Vec::<String>::new());
    broker.stop();
    for _ in 0..4 {
        told.error().await;
    }
    let lines = Log::lines();
    assert_eq!(lines[0], "INFO message=the stream to the broker is lost, the tokens held are served");
    assert!(lines[1].starts_with("WARN message=the stream to the broker fails again and again error=UNAVAILABLE: "), "{lines:?}");
    assert!(lines[1].contains(" failures=3 "), "{lines:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
    broker.resume();
    told.first(|event| matches!(event, Event::Reconnect).then_some(())).await;
    assert_eq!(Log::lines(), ["INFO message=the stream to the broker is back"]);
}

#[tokio::test]
async fn r17_a_warning_tells_what_somebody_must_mend() {
    Log::lines();
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (options, mut told) = builder(&broker.target(), &[APP, "wx9"]);
    let client = options.start_optional().build().await.unwrap();
    told.error().await;
    client.close().await;
    let lines = Log::lines();
    let words = "the broker does not know an app, or this caller may not read it";
    assert_eq!(lines, [format!("WARN message={words} error=NOT_FOUND: APP_NOT_FOUND: no such app (wx9) app=\"wx9\"")]);

    broker.refuse("PERMISSION_DENIED", "PERMISSION_DENIED", ms(0));
    let (options, mut told) = builder(&broker.target(), &[APP]);
    let _refused = options.start_optional().build().await.unwrap();
    told.error().await;
    let lines = Log::lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("WARN message=the stream to the broker fails until somebody mends it error=PERMISSION_DENIED"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn r17_an_observer_is_told_of_a_stream_that_is_stale() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let slot = Arc::new(OnceLock::<Client>::new());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let observe = {
        let slot = Arc::clone(&slot);
        move |event: Event| {
            if let (Event::Goaway { .. }, Some(client)) = (event, slot.get()) {
                let _ = tell.send(client.stats().state);
            }
        }
    };
    let client = builder(&broker.target(), &[APP]).0.on_event(observe).build().await.unwrap();
    slot.set(client.clone()).ok().unwrap();
    broker.drain(ms(0));
    assert_eq!(told.recv().await, Some("STALE"));
    client.close().await;
}
