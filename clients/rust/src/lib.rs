//! Holds the newest WeChat access_token of each app in memory, as a Lingpai broker pushes it.
//!
//! A [`Client`] keeps one stream to the broker. A [`Source`] is one app's token: [`Source::token`] reads memory, [`Source::call`] makes a business call
//! and mends a token that WeChat refuses. `clients/SPEC.md` in the broker's repository has the rules, R1 to R19, by which it reconnects and reports.
#![warn(missing_docs)]

mod backoff;
mod client;
mod connection;
mod error;
mod event;
#[rustfmt::skip]
#[allow(missing_docs, clippy::all)]
mod gen;
mod options;
mod source;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(all(test, feature = "testing"))]
mod tests;
mod token;

pub use client::Client;
pub use error::{CallError, Error, MayReject, Reason, Rejected, RpcError};
pub use event::{AppStats, Event, Stats};
pub use options::{ClientBuilder, Timing};
pub use source::{Report, Source};
pub use token::Token;
