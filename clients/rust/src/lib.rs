//! Holds the newest WeChat access_token of each app in memory, as a Lingpai broker pushes it.
//!
//! A [`Client`] keeps one stream to the broker. A [`Source`] is one app's token: [`Source::token`] reads memory, [`Source::call`] makes a business call
//! and mends a token that WeChat refuses. `clients/SPEC.md` in the broker's repository has the rules, R1 to R19, by which it reconnects and reports.
//!
//! ```no_run
//! # async fn of() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use lingpai::{Client, Rejected};
//!
//! let client = Client::builder("https://broker:7600").app("wx0000000000000001").key_file("/run/secrets/orders.key").build().await?;
//! let source = client.app("wx0000000000000001")?; // cheap to clone: give one to whoever calls WeChat
//! source
//!     .call(|token| async move {
//!         let errcode = send(token.value()).await;
//!         Rejected::check(errcode) // a refused token is reported, and the call made once more
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! # async fn send(_: &str) -> i64 { 0 }
//! ```
//!
//! It logs by `tracing`, with the target `lingpai`: a line for a lost and for a regained stream, a warning for three failures in a row and each tenth after
//! them, and for what somebody must mend. No error, event, line or `Debug` has a token's value or a key. The feature `testing` has doubles for your tests.
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
