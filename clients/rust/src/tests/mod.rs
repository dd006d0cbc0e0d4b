//! The rules of SPEC.md beside a fake broker, or with the clock in hand.
mod app;
mod observe;
mod report;
mod runtime;
mod stream;
mod tls;
mod wire;

use std::cell::RefCell;
use std::future::Future;
use std::sync::Once;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::{Client, ClientBuilder, Event, Timing};

const APP: &str = "wx1";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Pauses of a few milliseconds, but for those that a test would see.
fn quick() -> Timing {
    let (backoff_base, backoff_cap, backoff_floor) = (ms(20), ms(60), ms(5));
    Timing { backoff_base, backoff_cap, backoff_floor, app_retry: ms(20), ..Timing::default() }
}

/// What must not keep a test for ever.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(ms(20_000), what).await.expect("it comes in time")
}

/// What a client tells.
struct Told(UnboundedReceiver<Event>);

impl Told {
    /// The first from now on of which something is to be seen.
    async fn first<T>(&mut self, seen: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            let event = soon(self.0.recv()).await.expect("an event");
            if let Some(seen) = seen(&event) {
                return seen;
            }
        }
    }

    /// The next error: its code, what it says, and the pause after it.
    async fn error(&mut self) -> (&'static str, String, Duration) {
        let seen = |event: &Event| match event {
            Event::Error { code, message, retry_in, .. } => Some((*code, message.clone(), *retry_in)),
            _ => None,
        };
        self.first(seen).await
    }
}

/// A quick client's builder, and what it will tell.
fn builder(target: &str, apps: &[&str]) -> (ClientBuilder, Told) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let tell = move |event| drop(sender.send(event));
    let builder = apps.iter().fold(Client::builder(target), |builder, app| builder.app(*app));
    (builder.timing(quick()).on_event(tell), Told(receiver))
}

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the log of each thread, which is a test's: `lines` gives what came since it was asked last.
struct Log;

impl Log {
    fn lines() -> Vec<String> {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(Log).unwrap());
        LINES.take()
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "lingpai"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| line += &format!(" {field}={value:?}"));
        LINES.with_borrow_mut(|lines| lines.push(line));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
