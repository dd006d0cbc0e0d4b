use std::sync::{Arc, Mutex};

use super::state_of;
use crate::client::{Client, Handle, Inner};
use crate::gen::{ForceRefreshOutcome, ForceRefreshResponse, Token, TokenState};
use crate::source::Source;

/// A source of this app that holds the first of these values and needs no broker. A report puts the next in its place (REFRESHED); of the last
/// one it says STILL_VALID. Its tokens do not expire. Panics where there is no value, or one of no or more than 2,048 characters.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use lingpai::testing::fixed_source;
/// use lingpai::Rejected;
///
/// let source = fixed_source("wx0000000000000001", ["FIRST", "SECOND"]);
/// let used = source
///     .call(|token| async move {
///         Rejected::check(if token.value() == "FIRST" { 40001 } else { 0 })?;
///         Ok::<_, Rejected>(token)
///     })
///     .await;
/// assert_eq!(used.unwrap().value(), "SECOND");
/// # }
/// ```
pub fn fixed_source<V: Into<String>>(app: &str, values: impl IntoIterator<Item = V>) -> Source {
    let mut values = values.into_iter().map(Into::into).collect::<Vec<String>>().into_iter();
    let first = lasting(state_of(app, 1, &values.next().expect("a value"), None));
    let held = Mutex::new((first.clone(), values));
    let mut options = Client::builder("fixed").app(app);
    options.fixed = Some(Arc::new(move || {
        let (state, values) = &mut *held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut outcome = ForceRefreshOutcome::StillValid;
        if let Some(value) = values.next() {
            outcome = ForceRefreshOutcome::Refreshed;
            *state = lasting(state_of(&state.app_id, state.generation + 1, &value, None));
        }
        ForceRefreshResponse { state: Some(state.clone()), outcome: outcome.into(), server_time: None }
    }));
    let inner = Inner::new(options, None);
    let client = Client { handle: Arc::new(Handle { inner: Arc::clone(&inner) }) };
    let source = client.app(app).expect("the app");
    source.app.take(&inner, first, None).expect("a value of 1 to 2048 characters");
    source
}

/// With a token that does not expire.
fn lasting(mut state: TokenState) -> TokenState {
    state.current = state.current.map(|token| Token { expire_time: None, ..token });
    state
}
