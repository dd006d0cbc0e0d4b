use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use prost_types::Timestamp;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::client::{Handle, Inner};
use crate::error::{CallError, Error, MayReject, Reason, RpcError};
use crate::event::{AppStats, Event};
use crate::gen::{self, ForceRefreshOutcome, TokenState, TokenStatus};
use crate::token::{id_of, Token};

/// The longest value of a token, in characters: what the protocol promises.
const VALUE_MAX: usize = 2048;

/// What a report came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// `REFRESHED`, `JOINED`, `ALREADY_NEWER`, `STILL_VALID`, or `NEWER_HELD` where the broker was not asked, since a newer token is held.
    pub outcome: String,
    /// The token to use now.
    pub token: Arc<Token>,
}

type Answer = Option<Result<Report, Error>>;

/// What is held of one app.
pub(crate) struct App {
    pub id: String,
    held: ArcSwap<Result<Arc<Token>, Error>>,
    changed: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    generation: u64,
    expiry: Option<AbortHandle>,
    /// Under way, by the generation that is reported.
    reports: HashMap<u64, watch::Receiver<Answer>>,
    /// The last report that failed: it is not repeated before then.
    refused: Option<(u64, Instant, RpcError)>,
}

impl App {
    pub fn new(id: String) -> App {
        let none = Error::NoToken { app: id.clone(), reason: Reason::Waiting, words: String::new() };
        App { id, held: ArcSwap::from_pointee(Err(none)), changed: watch::Sender::new(0), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn token(&self) -> Result<Arc<Token>, Error> {
        match &**self.held.load() {
            Ok(token) => Ok(Arc::clone(token)),
            Err(error) => Err(error.clone()),
        }
    }

    pub fn known(&self) -> Option<u64> {
        self.held.load().as_ref().as_ref().ok().map(|token| token.generation)
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn stats(&self) -> AppStats {
        match &**self.held.load() {
            Ok(token) => AppStats { state: "HELD", generation: token.generation, token_id: token.id.clone(), reason: String::new() },
            Err(Error::NoToken { reason, .. }) => AppStats {
                state: if *reason == Reason::Waiting { "WAITING" } else { "NONE" },
                generation: 0,
                token_id: String::new(),
                reason: reason.to_string(),
            },
            Err(_) => AppStats { state: "NONE", generation: 0, token_id: String::new(), reason: String::new() },
        }
    }

    /// Takes a state that the broker told, unless it is older than what is held. Fails, and takes nothing, where it breaks the broker's promise.
    pub fn take(self: &Arc<App>, inner: &Arc<Inner>, told: TokenState, now: Option<Timestamp>) -> Result<(), RpcError> {
        if told.app_id != self.id {
            return Err(RpcError::of("INTERNAL", format!("an answer for {} is of another app", self.id), false));
        }
        for token in told.current.iter().chain(&told.previous) {
            let length = token.value.chars().count();
            if !(1..=VALUE_MAX).contains(&length) {
                let words = format!("a token of {length} characters: the broker promises 1 to {VALUE_MAX}");
                return Err(RpcError::of("INTERNAL", words, false));
            }
        }
        self.keep(inner, told, now);
        inner.tell_queued();
        Ok(())
    }

    fn keep(self: &Arc<App>, inner: &Arc<Inner>, told: TokenState, now: Option<Timestamp>) {
        let mut state = self.lock();
        if told.generation < state.generation || matches!(&**self.held.load(), Err(Error::Closed)) {
            return;
        }
        state.generation = told.generation;
        stop(&mut state.expiry);
        let words = told.status_reason;
        let Some(current) = told.current else {
            let is_over = told.status == TokenStatus::Expired as i32;
            self.none(inner, if is_over { Reason::Expired } else { Reason::Pending }, words);
            return;
        };
        let arrived = Instant::now();
        let now = now.unwrap_or_else(|| SystemTime::now().into());
        let token_of = |token: gen::Token, generation, previous| {
            // An end that no clock reaches is none.
            let until = token.expire_time.and_then(|end| arrived.checked_add(between(now, end)));
            Token { id: id_of(&token.value), value: token.value, generation, until, previous }
        };
        let previous = told.previous.map(|token| Box::new(token_of(token, 0, None)));
        let token = Arc::new(token_of(current, told.generation, previous));
        if token.until == Some(arrived) {
            self.none(inner, Reason::Expired, words);
            return;
        }
        if let Some(at) = token.until {
            let (app, of, held) = (Arc::clone(self), Arc::clone(inner), Arc::clone(&token));
            state.expiry = inner.spawn(async move {
                tokio::time::sleep_until(at).await;
                app.expire(&of, &held);
            });
        }
        self.set(inner, Ok(token));
    }

    fn expire(&self, inner: &Inner, token: &Arc<Token>) {
        let state = self.lock();
        if matches!(&**self.held.load(), Ok(held) if Arc::ptr_eq(held, token)) {
            self.none(inner, Reason::Expired, String::new());
        }
        drop(state);
        inner.tell_queued();
    }

    /// There is no token, for a reason that is not a state. Once the app was removed, any generation is taken.
    pub fn drop_token(&self, inner: &Inner, reason: Reason, words: &str) {
        let mut state = self.lock();
        if matches!(&**self.held.load(), Err(Error::Closed)) {
            return;
        }
        if reason == Reason::Removed {
            state.generation = 0;
        }
        stop(&mut state.expiry);
        self.none(inner, reason, words.to_owned());
        drop(state);
        inner.tell_queued();
    }

    pub fn close(&self) {
        let mut state = self.lock();
        stop(&mut state.expiry);
        self.held.store(Arc::new(Err(Error::Closed)));
        self.changed.send_modify(|count| *count += 1);
    }

    fn none(&self, inner: &Inner, reason: Reason, words: String) {
        self.set(inner, Err(Error::NoToken { app: self.id.clone(), reason, words }));
    }

    fn set(&self, inner: &Inner, next: Result<Arc<Token>, Error>) {
        let before = self.stats();
        self.held.store(Arc::new(next));
        let now = self.stats();
        if now == before {
            return;
        }
        inner.queue(Event::State {
            app: self.id.clone(),
            is_held: now.state == "HELD",
            generation: now.generation,
            token_id: now.token_id,
            reason: now.reason,
        });
        self.changed.send_modify(|count| *count += 1);
    }

    /// What answers a report of this token: at once, or when the broker does.
    fn report(self: &Arc<App>, inner: &Arc<Inner>, refused: &Arc<Token>) -> watch::Receiver<Answer> {
        let mut state = self.lock();
        let at_once = |answer| watch::Sender::new(Some(answer)).subscribe();
        match &**self.held.load() {
            Ok(held) if held.generation > refused.generation => {
                return at_once(Ok(Report { outcome: "NEWER_HELD".into(), token: Arc::clone(held) }));
            }
            Err(Error::Closed) => return at_once(Err(Error::Closed)),
            _ => {}
        }
        if let Some(shared) = state.reports.get(&refused.generation) {
            return shared.clone();
        }
        if let Some((generation, until, error)) = &state.refused {
            if *generation == refused.generation && Instant::now() < *until {
                return at_once(Err(Error::Rpc(Box::new(error.clone()))));
            }
        }
        let (sender, receiver) = watch::channel(None);
        state.reports.insert(refused.generation, receiver.clone());
        drop(state);
        let (under_way, of, refused) = (UnderWay(Arc::clone(self), refused.generation), Arc::clone(inner), Arc::clone(refused));
        inner.spawn(async move {
            let answer = under_way.0.force_refresh(&of, &refused).await;
            drop(under_way);
            sender.send_replace(Some(answer));
        });
        receiver
    }

    async fn force_refresh(self: &Arc<App>, inner: &Arc<Inner>, refused: &Token) -> Result<Report, Error> {
        let answered = inner.force_refresh(&self.id, refused).await.and_then(|mut answer| {
            if let Some(state) = answer.state.take() {
                self.take(inner, state, answer.server_time)?;
            }
            Ok(answer)
        });
        match answered {
            Ok(answer) => {
                let outcome = ForceRefreshOutcome::try_from(answer.outcome).map_or("UNKNOWN", |outcome| outcome.as_str_name());
                let outcome = outcome.trim_start_matches("FORCE_REFRESH_OUTCOME_").to_owned();
                inner.tell(Event::Report { app: self.id.clone(), outcome: outcome.clone() });
                Ok(Report { outcome, token: self.token()? })
            }
            Err(error) => {
                if error.retry_after > Duration::ZERO {
                    let until = Instant::now() + error.retry_after.min(inner.options.timing.retry_cap);
                    self.lock().refused = Some((refused.generation, until, error.clone()));
                }
                inner.tell_error("report", &error, Duration::ZERO);
                Err(Error::Rpc(Box::new(error)))
            }
        }
    }
}

/// How long it is from one time to another; zero where that is over.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    let nanos = |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    let between = (nanos(to) - nanos(from)).max(0);
    u64::try_from(between / 1_000_000_000).map_or(Duration::MAX, |seconds| Duration::new(seconds, (between % 1_000_000_000) as u32))
}

fn stop(expiry: &mut Option<AbortHandle>) {
    if let Some(expiry) = expiry.take() {
        expiry.abort();
    }
}

/// The report of a generation of an app. However its task ends, another may follow.
struct UnderWay(Arc<App>, u64);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().reports.remove(&self.1);
    }
}

/// One app's token, always the newest that is known. Cheap to clone; the client lives until the last of it and of its sources is dropped.
#[derive(Clone)]
pub struct Source {
    pub(crate) app: Arc<App>,
    pub(crate) handle: Arc<Handle>,
}

impl Source {
    /// The WeChat app id.
    pub fn app(&self) -> &str {
        &self.app.id
    }

    /// The newest token, from memory: one atomic load, no wait, under 100 ns (R1). Fails with [`Error::NoToken`] or [`Error::Closed`].
    pub fn token(&self) -> Result<Arc<Token>, Error> {
        self.app.token()
    }

    /// Makes a business call with the newest token. If it fails with an error that [is a rejection](MayReject), the token is reported to the broker, and
    /// with a newer one the call is made once more. Where none came (WeChat accepts the token, or the broker cannot replace it now) its own
    /// error is returned. It is made at most twice, and nothing waits out a cooldown; the report takes 10 seconds at most (R11, R12).
    ///
    /// Fails with [`CallError::Business`], the call's own error, or with [`CallError::Client`] where there is no token to call with.
    pub async fn call<T, E, F, Fut>(&self, mut business: F) -> Result<T, CallError<E>>
    where
        E: MayReject,
        F: FnMut(Arc<Token>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let used = self.token().map_err(CallError::Client)?;
        let refusal = match business(Arc::clone(&used)).await {
            Err(error) if error.is_rejected() => error,
            result => return result.map_err(CallError::Business),
        };
        let mut newest = match self.report(&used).await {
            Ok(report) if report.outcome != "STILL_VALID" => report.token,
            _ => Arc::clone(&used),
        };
        if let Ok(held) = self.token() {
            if held.generation > newest.generation {
                newest = held;
            }
        }
        if newest.generation <= used.generation {
            return Err(CallError::Business(refusal));
        }
        business(newest).await.map_err(CallError::Business)
    }

    /// Tells the broker that WeChat refused a token of this source. Callers that report one generation share one report; where a newer token is held, no
    /// call is made (R11). Takes 10 seconds at most. Fails with [`Error::Rpc`] where the broker cannot replace it now, COOLDOWN for one; the token is
    /// kept, and until RetryInfo's time is over the same error answers at once. Fails with [`Error::Closed`].
    pub async fn report(&self, refused: &Arc<Token>) -> Result<Report, Error> {
        let mut answer = self.app.report(&self.handle.inner, refused);
        let answered = answer.wait_for(Option::is_some).await.map_err(|_| Error::Closed)?;
        answered.clone().unwrap_or(Err(Error::Closed))
    }

    /// Waits until a token of at least this generation is held, without a limit: `tokio::time::timeout` has one. Fails with [`Error::Closed`].
    pub async fn wait_for(&self, generation: u64) -> Result<Arc<Token>, Error> {
        let mut changes = self.app.changes();
        loop {
            changes.borrow_and_update();
            match self.token() {
                Ok(token) if token.generation >= generation => return Ok(token),
                Err(Error::Closed) => return Err(Error::Closed),
                _ => {}
            }
            changes.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    /// Changes whenever another token is held, or none: read it by [`Source::token`].
    pub fn updates(&self) -> watch::Receiver<u64> {
        self.app.changes()
    }
}
