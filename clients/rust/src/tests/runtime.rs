//! Tasks and timers are the client's own, and live in the runtime that it was built in, whichever its user is in.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use tokio::runtime::{Builder, Runtime};

use super::{builder, soon, APP};
use crate::testing::FakeBroker;
use crate::{Client, Error};

fn driven() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn idle() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Polls once, and keeps nothing.
fn begin(what: impl Future) {
    let _ = pin!(what).poll(&mut Context::from_waker(Waker::noop()));
}

fn live(own: &Runtime) -> (FakeBroker, Client) {
    own.block_on(async {
        let broker = FakeBroker::start([APP]).await.unwrap();
        let client = builder(&broker.target(), &[APP]).0.build().await.unwrap();
        broker.kill(APP);
        (broker, client)
    })
}

#[test]
fn r11_a_report_from_a_runtime_that_nobody_drives_or_that_is_gone_or_from_none_is_made() {
    let own = driven();
    for place in ["not driven", "gone", "none"] {
        let (_broker, client) = live(&own);
        let source = client.app(APP).unwrap();
        let held = source.token().unwrap();
        let other = idle();
        match place {
            "none" => begin(source.report(&held)),
            _ => other.block_on(async { begin(source.report(&held)) }),
        }
        let _driven_by_nobody = (place == "not driven").then_some(other);
        let report = own.block_on(soon(source.report(&held))).expect(place);
        assert_eq!(report.token.generation(), 2, "{place}");
    }
}

#[test]
fn r15_a_client_whose_runtime_is_gone_is_closed() {
    let own = driven();
    let (_broker, client) = live(&own);
    let source = client.app(APP).unwrap();
    let held = source.token().unwrap();
    drop(own);
    assert_eq!(client.stats().state, "CLOSED");
    assert!(matches!(source.token(), Err(Error::Closed)));
    assert!(matches!(idle().block_on(soon(source.report(&held))), Err(Error::Closed)));
}

#[test]
fn a_client_that_is_built_outside_a_runtime_is_told_so() {
    let (options, _told) = builder("127.0.0.1:1", &[APP]);
    let built = pin!(options.build()).poll(&mut Context::from_waker(Waker::noop()));
    let std::task::Poll::Ready(Err(error)) = built else { panic!("it is built") };
    assert_eq!(error.to_string(), "there is no runtime of tokio here: await `build` in one, for instance under #[tokio::main]");
}
