use std::collections::BTreeMap;
use std::time::Duration;

/// What [`ClientBuilder::on_event`](crate::ClientBuilder::on_event) is told, never a token's value (R17).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// An app's state changed: another token, another generation, or none.
    State {
        /// The app.
        app: String,
        /// Whether there is a token now.
        is_held: bool,
        /// Of the token that is held, or 0.
        generation: u64,
        /// Of the token that is held, or empty.
        token_id: String,
        /// Why there is no token (`EXPIRED`), or empty.
        reason: String,
    },
    /// A stream brought its first message after one was lost.
    Reconnect,
    /// The broker asked the client to come back later.
    Goaway {
        /// How long the client waits: what the broker asks for, 0.1 to 60 seconds (R7).
        after: Duration,
    },
    /// A token was reported, and the broker answered.
    Report {
        /// The app.
        app: String,
        /// `REFRESHED`, `JOINED`, `ALREADY_NEWER` or `STILL_VALID`.
        outcome: String,
    },
    /// A stream or a call failed.
    Error {
        /// `watch`, `get` (of an app that was not known) or `report`.
        during: &'static str,
        /// The name of the gRPC code.
        code: &'static str,
        /// The broker's `ErrorReason`, or empty.
        reason: String,
        /// What went wrong, in words.
        message: String,
        /// When it is tried again; zero: at once, or for a report not by itself.
        retry_in: Duration,
    },
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
