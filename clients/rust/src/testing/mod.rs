//! For the tests of services that use this library (R19): a source that needs no broker, and a broker in the process. With the feature `testing`:
//!
//! ```toml
//! [dev-dependencies]
//! lingpai = { version = "0.1", features = ["testing"] }
//! ```
//!
//! Neither knows a token of WeChat's.
mod broker;
mod fixed;

pub use broker::FakeBroker;
pub use fixed::fixed_source;

use std::time::{Duration, SystemTime};

use crate::gen::{Token, TokenState, TokenStatus};
use crate::token::id_of;

/// Of a token.
const LIFE: Duration = Duration::from_secs(2 * 60 * 60);
/// Of the token before it.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// A state as a broker tells it.
fn state_of(app: &str, generation: u64, value: &str, previous: Option<&str>) -> TokenState {
    let token = |value: &str, life: Duration| Token {
        value: value.into(),
        id: id_of(value),
        issue_time: None,
        expire_time: Some((SystemTime::now() + life).into()),
    };
    TokenState {
        app_id: app.into(),
        generation,
        current: Some(token(value, LIFE)),
        previous: previous.map(|value| token(value, GRACE)),
        status: TokenStatus::Fresh.into(),
        ..TokenState::default()
    }
}
