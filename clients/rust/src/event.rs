use std::collections::BTreeMap;
use std::time::Duration;

/// What [`ClientBuilder::on_event`](crate::ClientBuilder::on_event) is told, never a token's value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// An app's state changed. `reason` is why there is no token; empty while one is held.
    State { app: String, is_held: bool, generation: u64, token_id: String, reason: String },
    /// A stream brought its first message after one was lost.
    Reconnect,
    /// The broker asked the client to come back later.
    Goaway { after: Duration },
    /// A token was reported.
    Report { app: String, outcome: String },
    /// A stream or a call failed. `during` is `watch`, `get` or `report`; `retry_in` is zero where it is not tried again by itself.
    Error { during: &'static str, code: &'static str, reason: String, message: String, retry_in: Duration },
    /// The client was closed.
    Closed,
}

/// How a client is doing.
#[derive(Clone, Debug)]
pub struct Stats {
    /// `CONNECTING`, `LIVE`, `STALE` (the stream is lost; the tokens are served) or `CLOSED`.
    pub state: &'static str,
    /// Streams that were tried.
    pub attempts: u64,
    /// Streams that brought a message after one was lost.
    pub reconnects: u64,
    /// Goaways that came.
    pub goaways: u64,
    /// Reports that were sent.
    pub reports: u64,
    /// How each app is doing.
    pub apps: BTreeMap<String, AppStats>,
}

/// How an app is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppStats {
    /// `WAITING`, `HELD` or `NONE`.
    pub state: &'static str,
    /// Of the token that is held, or 0.
    pub generation: u64,
    /// Of the token that is held, or empty.
    pub token_id: String,
    /// Why there is no token, or empty.
    pub reason: String,
}
