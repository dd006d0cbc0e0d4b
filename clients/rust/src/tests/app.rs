use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime;

use super::{builder, ms, soon, APP};
use crate::client::{Client, Handle, Inner};
use crate::gen::{Token, TokenState, TokenStatus};
use crate::{Error, Reason, Source};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn token(value: &str, life: Option<Duration>) -> Token {
    Token { value: value.into(), id: value.into(), issue_time: None, expire_time: life.map(|life| (NOW + life).into()) }
}

fn state(generation: u64, current: Option<Token>) -> TokenState {
    TokenState { app_id: APP.into(), generation, current, status: TokenStatus::Fresh.into(), ..TokenState::default() }
}

/// A source without a stream.
fn source() -> (Arc<Inner>, Source) {
    let inner = Inner::new(builder("127.0.0.1:1", &[APP]).0, Some(runtime::Handle::current()));
    let client = Client { handle: Arc::new(Handle { inner: Arc::clone(&inner) }) };
    (inner, client.app(APP).unwrap())
}

fn take(inner: &Arc<Inner>, source: &Source, told: TokenState) {
    source.app.take(inner, told, Some(NOW.into())).unwrap();
}

fn reason(source: &Source) -> Reason {
    match source.token() {
        Err(Error::NoToken { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn r2_an_older_generation_is_not_taken_but_after_removed() {
    let (inner, source) = source();
    let high = u64::MAX - 1;
    take(&inner, &source, state(high, Some(token("newer", None))));
    take(&inner, &source, state(7, Some(token("older", None))));
    take(&inner, &source, state(high - 1, None));
    assert_eq!(source.token().unwrap().value(), "newer");
    take(&inner, &source, state(high, None)); // of an equal generation the newest status stands
    assert_eq!(reason(&source), Reason::Pending);
    take(&inner, &source, state(high, Some(token("newer", None))));
    assert_eq!(source.token().unwrap().generation(), high);
    source.app.drop_token(&inner, Reason::Removed, "");
    assert_eq!(reason(&source), Reason::Removed);
    take(&inner, &source, state(1, Some(token("anew", None))));
    assert_eq!(source.token().unwrap().value(), "anew");
}

#[tokio::test]
async fn r2_an_app_that_is_unknown_for_a_while_does_not_go_back() {
    let (inner, source) = source();
    take(&inner, &source, state(7, Some(token("newer", None))));
    source.app.drop_token(&inner, Reason::NotFound, "no app \"wx1\" is configured");
    take(&inner, &source, state(6, Some(token("older", None))));
    assert_eq!(source.token().unwrap_err().to_string(), "no token of wx1: NOT_FOUND, no app \"wx1\" is configured");
}

#[tokio::test(start_paused = true)]
async fn r3_a_token_is_gone_when_its_life_is_over() {
    let (inner, source) = source();
    let mut changes = source.updates();
    take(&inner, &source, state(1, Some(token("one", Some(ms(7_000))))));
    take(&inner, &source, state(1, Some(token("one", Some(ms(9_000)))))); // its life is another now
    changes.borrow_and_update();
    tokio::time::advance(ms(8_999)).await;
    assert_eq!(source.token().unwrap().value(), "one");
    soon(changes.changed()).await.unwrap();
    assert_eq!(reason(&source), Reason::Expired);
    take(&inner, &source, state(2, Some(token("two", Some(ms(0))))));
    assert_eq!(reason(&source), Reason::Expired);
    take(&inner, &source, state(2, Some(token("two", None))));
    tokio::time::advance(Duration::from_secs(1 << 30)).await;
    assert_eq!(source.token().unwrap().value(), "two");
}

#[tokio::test(start_paused = true)]
async fn r3_without_the_brokers_time_the_clients_own_counts() {
    let (inner, source) = source();
    let told = |generation, expire_time| {
        let current = Token { expire_time, ..token("one", None) };
        source.app.take(&inner, state(generation, Some(current)), None).unwrap();
    };
    let hour = Duration::from_secs(3600);
    told(1, Some((SystemTime::now() + hour).into()));
    let life = source.token().unwrap().until.expect("an end") - tokio::time::Instant::now();
    assert!(life <= hour && life > hour / 2, "{life:?}");
    told(2, Some((SystemTime::now() - hour).into()));
    assert_eq!(reason(&source), Reason::Expired);
    told(3, None);
    assert_eq!(source.token().unwrap().until, None);
    told(4, Some(prost_types::Timestamp { seconds: i64::MIN, nanos: i32::MIN }));
    assert_eq!(reason(&source), Reason::Expired);
    told(5, Some(prost_types::Timestamp { seconds: i64::MAX, nanos: i32::MAX }));
    assert_eq!(source.token().unwrap().generation(), 5);
}

#[test]
fn r3_a_token_that_is_taken_in_a_runtime_which_is_gone_expires_too() {
    let paused = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (own, other) = (paused(), paused());
    let (inner, source) = own.block_on(async { source() });
    other.block_on(async { take(&inner, &source, state(1, Some(token("one", Some(ms(200)))))) });
    drop(other);
    let mut changes = source.updates();
    own.block_on(soon(changes.changed())).unwrap();
    assert_eq!(reason(&source), Reason::Expired);
}

#[tokio::test(start_paused = true)]
async fn r13_the_token_before_is_read_during_its_grace_and_has_no_generation() {
    let (inner, source) = source();
    let told = TokenState { previous: Some(token("one", Some(ms(300)))), ..state(2, Some(token("two", Some(ms(7_000))))) };
    take(&inner, &source, told);
    let held = source.token().unwrap();
    let previous = held.previous().unwrap();
    assert_eq!((previous.value(), previous.generation()), ("one", 0));
    tokio::time::advance(ms(300)).await;
    assert!(held.previous().is_none());
}

#[tokio::test]
async fn r18_a_value_that_no_token_has_is_an_error_of_the_broker_and_nothing_is_taken() {
    let (inner, source) = source();
    let longest = "\u{4ee4}".repeat(2048); // characters, not bytes
    take(&inner, &source, state(1, Some(token(&longest, None))));
    assert_eq!(source.token().unwrap().value(), longest);
    let too_long = state(2, Some(token(&"v".repeat(2049), None)));
    let before_it = TokenState { previous: Some(token(&"v".repeat(2049), None)), ..state(2, Some(token("two", None))) };
    for (told, length) in [(too_long, 2049), (before_it, 2049), (state(2, Some(token("", None))), 0)] {
        let error = source.app.take(&inner, told, None).unwrap_err();
        assert_eq!(error.to_string(), format!("INTERNAL: a token of {length} characters: the broker promises 1 to 2048"));
        assert!(!error.needs_operator);
    }
    take(&inner, &source, state(1, Some(token("one", None)))); // generation 2 was not taken
    assert_eq!(source.token().unwrap().value(), "one");
}

#[tokio::test]
async fn an_answer_that_is_of_another_app_is_an_error_of_the_broker_and_is_not_taken() {
    let (inner, source) = source();
    let told = TokenState { app_id: "wx2".into(), ..state(1, Some(token("SECRET", None))) };
    let error = source.app.take(&inner, told, None).unwrap_err();
    assert_eq!(error.to_string(), "INTERNAL: an answer for wx1 is of another app");
    assert_eq!(reason(&source), Reason::Waiting);
}

#[tokio::test]
async fn r18_what_prints_a_token_prints_its_id() {
    let (inner, source) = source();
    let told = TokenState { previous: Some(token("SECRET", None)), ..state(1, Some(token("SECRET_TOO", None))) };
    take(&inner, &source, told);
    let held = source.token().unwrap();
    assert_eq!(held.to_string(), "9f27d1b40dd5"); // not what the broker says
    assert_eq!(format!("{held:?} {:?}", held.previous()), "Token(9f27d1b40dd5) Some(Token(0917b13a9091))");
    let client = Client { handle: Arc::clone(&source.handle) };
    let printed = format!("{:?} {:?}", source.token(), client.stats());
    assert!(printed.contains("9f27d1b40dd5") && !printed.contains("SECRET"), "{printed}");
}
