use std::sync::Mutex;

use super::{builder, ms, soon, APP};
use crate::testing::{fixed_source, FakeBroker};
use crate::{CallError, Client, Error, MayReject, Rejected, Source};

async fn live(broker: &FakeBroker) -> (Client, Source) {
    let client = builder(&broker.target(), &[APP]).0.build().await.unwrap();
    let source = client.app(APP).unwrap();
    (client, source)
}

/// Calls with a business that answers so, one errcode a call; the generations that it was made with, and how it ended.
async fn call(source: &Source, errcodes: &[i64]) -> (Vec<u64>, Result<(), CallError<Rejected>>) {
    let used = Mutex::new(Vec::new());
    let business = |token: std::sync::Arc<crate::Token>| {
        let mut used = used.lock().unwrap();
        used.push(token.generation());
        let answer = Rejected::check(errcodes[used.len() - 1]);
        async move { answer }
    };
    let result = source.call(business).await;
    (used.into_inner().unwrap(), result)
}

fn rejected(result: Result<(), CallError<Rejected>>) -> i64 {
    match result {
        Err(CallError::Business(Rejected { errcode })) => errcode,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn r12_a_call_is_made_once_more_with_a_newer_token_and_never_a_third_time() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (_client, source) = live(&broker).await;
    let (used, result) = call(&source, &[0]).await;
    assert_eq!((used, result.is_ok(), broker.reports()), (vec![1], true, 0));
    broker.kill(APP);
    let (used, result) = call(&source, &[40001, 0]).await;
    assert_eq!((used, result.is_ok(), broker.reports()), (vec![1, 2], true, 1));
    broker.kill(APP);
    let (used, result) = call(&source, &[42001, 40014]).await;
    assert_eq!((used, rejected(result), broker.reports()), (vec![2, 3], 40014, 2));
}

#[tokio::test]
async fn r12_already_newer_is_called_with_what_the_report_brought() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (options, mut told) = builder(&broker.target(), &[APP]);
    let client = options.build().await.unwrap();
    broker.drain(ms(60_000));
    told.first(|event| matches!(event, crate::Event::Goaway { .. }).then_some(())).await;
    broker.rotate(APP); // nobody is told
    let (used, result) = call(&client.app(APP).unwrap(), &[40001, 0]).await;
    assert_eq!((used, result.is_ok(), broker.reports()), (vec![1, 2], true, 1));
}

#[tokio::test]
async fn r12_still_valid_or_an_error_of_the_report_give_the_calls_own_error() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (client, source) = live(&broker).await;
    let (used, result) = call(&source, &[40001]).await;
    assert_eq!((used, rejected(result), broker.reports()), (vec![1], 40001, 1));
    let held = source.token().unwrap();
    assert_eq!(source.report(&held).await.unwrap().outcome, "STILL_VALID");
    broker.kill(APP);
    broker.refuse("RESOURCE_EXHAUSTED", "COOLDOWN", ms(60_000));
    let (used, result) = call(&source, &[40014]).await;
    assert_eq!((used, rejected(result)), (vec![1], 40014));
    client.close().await;
    assert!(matches!(call(&source, &[]).await.1, Err(CallError::Client(Error::Closed))));
}

#[tokio::test]
async fn r11_all_who_report_one_generation_share_one_call() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (_client, source) = live(&broker).await;
    broker.kill(APP);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let source = source.clone();
        calls.spawn(async move { call(&source, &[40001, 0]).await.0 });
    }
    assert_eq!(calls.join_all().await, vec![vec![1, 2]; 100]);
    assert_eq!(broker.reports(), 1);
}

#[tokio::test]
async fn r11_an_older_token_is_not_reported() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (_client, source) = live(&broker).await;
    let old = source.token().unwrap();
    broker.rotate(APP);
    soon(source.wait_for(2)).await.unwrap();
    let report = source.report(&old).await.unwrap();
    assert_eq!((report.outcome.as_str(), report.token.generation(), broker.reports()), ("NEWER_HELD", 2, 0));
}

#[tokio::test]
async fn r11_until_retry_info_is_over_the_same_error_answers_without_a_call() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (_client, source) = live(&broker).await;
    broker.kill(APP);
    broker.refuse("RESOURCE_EXHAUSTED", "COOLDOWN", ms(60_000));
    let held = source.token().unwrap();
    let first = source.report(&held).await.unwrap_err().to_string();
    broker.accept();
    let second = source.report(&held).await.unwrap_err().to_string();
    assert_eq!((first.as_str(), broker.reports()), ("RESOURCE_EXHAUSTED: COOLDOWN: the fake broker refuses", 1));
    assert_eq!(first, second);
    broker.rotate(APP); // another generation is another matter
    broker.kill(APP);
    let newer = soon(source.wait_for(2)).await.unwrap();
    assert_eq!(source.report(&newer).await.unwrap().outcome, "REFRESHED");
}

#[tokio::test]
async fn r11_without_retry_info_a_report_is_made_again() {
    let broker = FakeBroker::start([APP]).await.unwrap();
    let (_client, source) = live(&broker).await;
    broker.kill(APP);
    broker.refuse("UNAVAILABLE", "", ms(0));
    let held = source.token().unwrap();
    source.report(&held).await.unwrap_err();
    broker.accept();
    assert_eq!(source.report(&held).await.unwrap().token.generation(), 2);
}

#[tokio::test]
async fn r19_a_fixed_source_has_one_value_after_the_other() {
    let source = fixed_source(APP, ["ONE", "TWO"]);
    assert_eq!((source.token().unwrap().value(), source.token().unwrap().until), ("ONE", None));
    assert_eq!(call(&source, &[40001, 0]).await.0, [1, 2]);
    let (used, result) = call(&source, &[40001]).await;
    assert_eq!((used, rejected(result), source.token().unwrap().value()), (vec![2], 40001, "TWO"));
}

#[test]
fn what_is_behind_an_error_is_its_source() {
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    fn words(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
        std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
    }
    let lost = Box::new(crate::error::RpcError::unavailable("lost"));
    let timed_out = Error::StartTimeout { apps: vec![APP.into()], last: Some(lost.clone()) };
    assert_eq!(words(&timed_out), ["no token of wx1 in time: UNAVAILABLE: lost", "UNAVAILABLE: lost"]);
    assert_eq!(words(&CallError::<Rejected>::Client(Error::Rpc(lost))), ["UNAVAILABLE: lost"; 3]);
    assert_eq!(words(&Error::Closed).len(), 1);
    let own = CallError::Business(Boxed::from(CallError::<Rejected>::Client(timed_out)));
    assert_eq!(words(&own)[1..], ["no token of wx1 in time: UNAVAILABLE: lost", "UNAVAILABLE: lost"]);
    assert!(!Boxed::from(CallError::Business(Rejected { errcode: 40001 })).is_rejected());
}

#[test]
fn r12_a_boxed_error_is_a_rejection_where_it_or_its_source_is_one() {
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    let refusal = Rejected { errcode: 40001 };
    assert!(Boxed::from(refusal).is_rejected());
    assert!(Boxed::from(std::io::Error::other(refusal)).is_rejected());
    assert!(!Boxed::from("errcode 45009").is_rejected());
}
