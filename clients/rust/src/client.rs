use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout, Instant};

use crate::backoff::Backoff;
use crate::connection::Connection;
use crate::error::{duration_of, Error, Reason, RpcError};
use crate::event::{Event, Stats};
use crate::gen::force_refresh_request::Rejected;
use crate::gen::watch_token_response::Event as Told;
use crate::gen::{ForceRefreshRequest, ForceRefreshResponse, GetRequest, GetResponse, WatchTokenRequest, WatchTokenResponse};
use crate::options::ClientBuilder;
use crate::source::{App, Source};
use crate::token::Token;

/// The longest that `close` waits for tasks.
const CLOSE: Duration = Duration::from_millis(1_500);

/// One stream to the broker, and the tokens that it brought. A process needs one. Cheap to clone; the last drop of it and of its sources ends it.
///
/// Its tasks live in the runtime that it was built in, wherever it and its sources are used. With that runtime the client is closed.
#[derive(Clone)]
pub struct Client {
    pub(crate) handle: Arc<Handle>,
}

/// What a client and its sources have, and the task of its stream: it closes the client when it is dropped.
pub(crate) struct Handle {
    pub inner: Arc<Inner>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.close();
    }
}

pub(crate) struct Inner {
    pub options: ClientBuilder,
    /// Where its tasks live. A fixed source has none: its user may have no runtime, or one for each test.
    runtime: Option<runtime::Handle>,
    apps: BTreeMap<String, Arc<App>>,
    shared: Mutex<Shared>,
    /// Events that wait to be told, and whether someone tells.
    told: Mutex<(VecDeque<Event>, bool)>,
    closed: watch::Sender<bool>,
    /// How many tasks run.
    pub running: watch::Sender<usize>,
    /// Counts errors, and apps that are known again: the start and the stream look anew.
    looks: watch::Sender<u64>,
}

struct Shared {
    state: &'static str,
    attempts: u64,
    reconnects: u64,
    goaways: u64,
    reports: u64,
    /// Apps that the broker does not know.
    unknown: BTreeSet<String>,
    last: Option<RpcError>,
    /// An error that waiting does not mend, for the start.
    fatal: Option<RpcError>,
}

impl Client {
    /// A builder for a client. `target`: the broker's gRPC port, `HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`.
    pub fn builder(target: &str) -> ClientBuilder {
        ClientBuilder::new(target)
    }

    pub(crate) async fn start(options: ClientBuilder) -> Result<Client, Error> {
        let runtime = runtime::Handle::try_current().map_err(|_| {
            Error::Configuration("there is no runtime of tokio here: await `build` in one, for instance under #[tokio::main]".into())
        })?;
        let inner = Inner::new(options, Some(runtime));
        let client = Client { handle: Arc::new(Handle { inner: Arc::clone(&inner) }) };
        // Dropped with the task, however that ends: nothing renews a token from then on.
        let closes = Handle { inner: Arc::clone(&inner) };
        inner.spawn(async move { Arc::clone(&closes.inner).run().await });
        if !inner.options.start_optional {
            if let Err(error) = inner.wait_for_start().await {
                client.close().await;
                return Err(error);
            }
        }
        Ok(client)
    }

    /// An app's source. Fails with [`Error::Configuration`] for an app that the client was not made with.
    pub fn app(&self, app: &str) -> Result<Source, Error> {
        let found = self.handle.inner.apps.get(app);
        let app = found.ok_or_else(|| Error::Configuration(format!("the client was made without {app}: name it by app()")))?;
        Ok(Source { app: Arc::clone(app), handle: Arc::clone(&self.handle) })
    }

    /// How the client is doing.
    pub fn stats(&self) -> Stats {
        let inner = &self.handle.inner;
        let shared = inner.lock();
        Stats {
            state: shared.state,
            attempts: shared.attempts,
            reconnects: shared.reconnects,
            goaways: shared.goaways,
            reports: shared.reports,
            apps: inner.apps.iter().map(|(id, app)| (id.clone(), app.stats())).collect(),
        }
    }

    /// Ends the stream, pauses, and calls under way; reads fail with [`Error::Closed`] from now on. May be called any number of times, and takes at most 2 seconds.
    pub async fn close(&self) {
        let inner = &self.handle.inner;
        inner.close();
        let mut running = inner.running.subscribe();
        let ended = running.wait_for(|count| *count == 0);
        let _ = timeout(CLOSE, ended).await;
    }
}

/// One of the tasks that `close` waits for. However a task ends, its count ends with it.
struct Running(Arc<Inner>);

impl Running {
    fn new(inner: &Arc<Inner>) -> Running {
        inner.running.send_modify(|count| *count += 1);
        Running(Arc::clone(inner))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|count| *count -= 1);
    }
}

impl Inner {
    pub fn new(options: ClientBuilder, runtime: Option<runtime::Handle>) -> Arc<Inner> {
        let apps = options.apps.iter().map(|app| (app.clone(), Arc::new(App::new(app.clone())))).collect();
        let shared = Shared {
            state: "CONNECTING",
            attempts: 0,
            reconnects: 0,
            goaways: 0,
            reports: 0,
            unknown: BTreeSet::new(),
            last: None,
            fatal: None,
        };
        Arc::new(Inner {
            options,
            runtime,
            apps,
            shared: Mutex::new(shared),
            told: Mutex::default(),
            closed: watch::Sender::new(false),
            running: watch::Sender::new(0),
            looks: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn close(&self) {
        let was = std::mem::replace(&mut self.lock().state, "CLOSED");
        self.closed.send_replace(true);
        if was != "CLOSED" {
            for app in self.apps.values() {
                app.close();
            }
            self.tell(Event::Closed);
        }
    }

    /// Starts a task that ends when the client is closed, and that `close` waits for.
    pub fn spawn(self: &Arc<Inner>, work: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let Some(runtime) = &self.runtime else {
            let _ = pin!(work).poll(&mut Context::from_waker(Waker::noop())); // it waits for nothing
            return None;
        };
        let running = Running::new(self);
        let task = runtime.spawn(async move {
            let mut closed = running.0.closed.subscribe();
            // It keeps nothing of `closed` locked: what ends the work may close the client.
            let closed = async { drop(closed.wait_for(|closed| *closed).await) };
            tokio::select! {
                () = work => {}
                () = closed => {}
            }
        });
        Some(task.abort_handle())
    }

    async fn wait_for_start(&self) -> Result<(), Error> {
        let mut looks = self.looks.subscribe();
        let all_held = async {
            for app in self.apps.values() {
                let mut changes = app.changes();
                loop {
                    changes.borrow_and_update();
                    if app.known().is_some() || changes.changed().await.is_err() {
                        break;
                    }
                }
            }
        };
        let fatal = async {
            loop {
                looks.borrow_and_update();
                if let Some(error) = self.lock().fatal.clone() {
                    return error;
                }
                if looks.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = all_held => Ok(()),
            error = fatal => Err(Error::Rpc(Box::new(error))),
            () = sleep(self.options.start_timeout) => {
                let missing = self.apps.values().filter(|app| app.known().is_none()).map(|app| app.id.clone());
                Err(Error::StartTimeout { apps: missing.collect(), last: self.lock().last.clone().map(Box::new) })
            }
        }
    }

    async fn run(self: Arc<Inner>) {
        let mut pauses = Backoff::new(self.options.timing, fastrand::f64);
        let mut looks = self.looks.subscribe();
        loop {
            looks.borrow_and_update();
            let apps: Vec<_> = {
                let shared = self.lock();
                self.apps.values().filter(|app| !shared.unknown.contains(&app.id)).cloned().collect()
            };
            if apps.is_empty() {
                let _ = looks.changed().await; // until one is known again
                continue;
            }
            let pause = self.attempt(&apps, &mut pauses).await;
            sleep(pause).await;
        }
    }

    /// One stream, from its connection to its end. Gives the pause before the next.
    async fn attempt(self: &Arc<Inner>, apps: &[Arc<App>], pauses: &mut Backoff) -> Duration {
        self.lock().attempts += 1;
        let mut first = None;
        let ended = self.watch(apps, &mut first).await;
        let lived = first.map(|first: Instant| first.elapsed());
        match ended {
            Ok(after) => {
                // It ended without a failure: a good one makes the pauses short again.
                pauses.ended(lived);
                after.unwrap_or_default()
            }
            Err(error) => {
                self.lost();
                self.failed(error, apps, pauses, lived)
            }
        }
    }

    fn lost(&self) {
        {
            let mut shared = self.lock();
            if shared.state != "LIVE" {
                return;
            }
            shared.state = "STALE";
        }
        tracing::info!(target: "lingpai", "the stream to the broker is lost, the tokens held are served");
    }

    /// Reads one stream. Gives the pause after a goaway; none when it is to be opened anew with another app.
    async fn watch(self: &Arc<Inner>, apps: &[Arc<App>], first: &mut Option<Instant>) -> Result<Option<Duration>, RpcError> {
        let silence = self.options.timing.silence;
        let silent = |_| RpcError::unavailable(format!("nothing came for {silence:?}: the connection must be dead"));
        let began = Instant::now();
        // Dropped with this call, and closed with that: a stream has a connection of its own.
        let mut connection = timeout(silence, Connection::open(&self.options)).await.map_err(silent)??;
        let request = WatchTokenRequest {
            app_ids: apps.iter().map(|app| app.id.clone()).collect(),
            known_generations: apps.iter().filter_map(|app| app.known().map(|known| (app.id.clone(), known))).collect(),
        };
        let opened = timeout(silence.saturating_sub(began.elapsed()), connection.watch(request));
        let mut stream = opened.await.map_err(silent)??;
        let mut looks = self.looks.subscribe();
        let mut deadline = began + silence;
        loop {
            if apps.len() < self.apps.len() - self.lock().unknown.len() {
                return Ok(None);
            }
            let message = tokio::select! {
                message = tokio::time::timeout_at(deadline, stream.message()) => message.map_err(silent)?,
                _ = looks.changed() => continue,
            };
            let message = message.map_err(|status| RpcError::of_stream(&status))?;
            let message = message.ok_or_else(|| RpcError::unavailable("the stream ended"))?;
            deadline = Instant::now() + silence;
            if first.is_none() {
                *first = Some(Instant::now());
                self.lives();
            }
            if let Some(pause) = self.take(message)? {
                return Ok(Some(pause));
            }
        }
    }

    fn lives(&self) {
        let was_lost = {
            let mut shared = self.lock();
            let was = shared.state;
            if was != "CLOSED" {
                shared.state = "LIVE";
            }
            shared.reconnects += u64::from(was == "STALE");
            was == "STALE"
        };
        if was_lost {
            tracing::info!(target: "lingpai", "the stream to the broker is back");
            self.tell(Event::Reconnect);
        }
    }

    /// Takes one event. Gives the pause that a goaway asks for.
    fn take(self: &Arc<Inner>, message: WatchTokenResponse) -> Result<Option<Duration>, RpcError> {
        match message.event {
            Some(Told::State(state)) => {
                if let Some(app) = self.apps.get(&state.app_id) {
                    app.take(self, state, message.server_time)?;
                }
            }
            Some(Told::Removed(removed)) => {
                if let Some(app) = self.apps.get(&removed.app_id) {
                    app.drop_token(self, Reason::Removed, "");
                }
            }
            Some(Told::Goaway(goaway)) => {
                let timing = self.options.timing;
                let asked = goaway.reconnect_after.map_or(Duration::ZERO, duration_of);
                let after = asked.min(timing.goaway_cap).max(timing.backoff_floor);
                self.lock().goaways += 1;
                self.lost(); // before whoever observes is told, who may look at `stats`
                self.tell(Event::Goaway { after });
                return Ok(Some(after));
            }
            Some(Told::Heartbeat(_)) | None => {}
        }
        Ok(None)
    }

    /// What follows from the error of a stream for these apps. Gives the pause before the next.
    fn failed(self: &Arc<Inner>, error: RpcError, apps: &[Arc<App>], pauses: &mut Backoff, lived: Option<Duration>) -> Duration {
        // One that it did not ask for is left out already, or none of the client's: at once would be for ever.
        let missing = apps.iter().find(|app| app.id == error.app && error.code == "NOT_FOUND").cloned();
        {
            let mut shared = self.lock();
            shared.last = Some(error.clone());
            if matches!(error.code, "NOT_FOUND" | "INVALID_ARGUMENT" | "UNAUTHENTICATED") {
                shared.fatal = Some(error.clone());
            }
            if let Some(app) = &missing {
                shared.unknown.insert(app.id.clone());
            }
        }
        self.looks.send_modify(|count| *count += 1);
        let Some(app) = missing else {
            let pause = pauses.after(&error, lived);
            let failures = pauses.failures;
            if pauses.is_slow {
                tracing::warn!(target: "lingpai", %error, failures, ?pause, "the stream to the broker fails until somebody mends it");
            } else if failures % 10 == 3 {
                tracing::warn!(target: "lingpai", %error, failures, ?pause, "the stream to the broker fails again and again");
            }
            self.tell_error("watch", &error, pause);
            return pause;
        };
        tracing::warn!(target: "lingpai", %error, app = app.id, "the broker does not know an app, or this caller may not read it");
        self.tell_error("watch", &error, Duration::ZERO);
        app.drop_token(self, Reason::NotFound, &error.words);
        let inner = Arc::clone(self);
        self.spawn(async move { inner.probe(app).await });
        Duration::ZERO
    }

    /// Asks for an app that the broker does not know, until it does.
    async fn probe(self: Arc<Inner>, app: Arc<App>) {
        let retry = self.options.timing.app_retry;
        loop {
            sleep(retry).await;
            let request = GetRequest { app_id: app.id.clone(), min_generation: 0 };
            let answer = self.unary::<_, GetResponse>("/lingpai.v1.TokenService/Get", request).await;
            // One that has no token yet is known: the stream tells of it.
            let known = answer.or_else(|error| if error.knows(&app.id) { Ok(GetResponse::default()) } else { Err(error) });
            let taken = known.and_then(|answer| answer.state.map_or(Ok(()), |state| app.take(&self, state, answer.server_time)));
            match taken {
                Ok(()) => {
                    self.lock().unknown.remove(&app.id);
                    self.looks.send_modify(|count| *count += 1);
                    return;
                }
                Err(error) if error.code == "NOT_FOUND" => {}
                Err(error) => self.tell_error("get", &error, retry),
            }
        }
    }

    pub async fn force_refresh(&self, app: &str, refused: &Token) -> Result<ForceRefreshResponse, RpcError> {
        self.lock().reports += 1;
        #[cfg(feature = "testing")]
        if let Some(fixed) = &self.options.fixed {
            return Ok(fixed());
        }
        let rejected = Some(Rejected::RejectedToken(refused.value.clone()));
        let request = ForceRefreshRequest { app_id: app.into(), rejected };
        self.unary("/lingpai.v1.TokenService/ForceRefresh", request).await
    }

    /// One call on a connection of its own.
    async fn unary<In, Out>(&self, path: &'static str, request: In) -> Result<Out, RpcError>
    where
        In: prost::Message + Send + Sync + 'static,
        Out: prost::Message + Default + Send + Sync + 'static,
    {
        let limit = self.options.timing.call;
        let call = async { Connection::open(&self.options).await?.unary(path, request).await };
        let late = |_| RpcError::of("DEADLINE_EXCEEDED", format!("no answer within {limit:?}"), false);
        timeout(limit, call).await.map_err(late)?
    }

    pub fn tell_error(&self, during: &'static str, error: &RpcError, retry_in: Duration) {
        let (reason, message) = (error.reason.clone(), error.to_string());
        self.tell(Event::Error { during, code: error.code, reason, message, retry_in });
    }

    pub fn tell(&self, event: Event) {
        self.queue(event);
        self.tell_queued();
    }

    /// Has an event told by the next `tell_queued`: never under a lock, since what is told may use the client.
    pub fn queue(&self, event: Event) {
        self.told().0.push_back(event);
    }

    /// Tells what waits, in its order, unless another task does.
    pub fn tell_queued(&self) {
        loop {
            let event = {
                let mut told = self.told();
                let (waiting, is_telling) = &mut *told;
                if *is_telling {
                    return;
                }
                let Some(event) = waiting.pop_front() else { return };
                *is_telling = true;
                event
            };
            // The user's own trouble ends no task of the client.
            let _ = catch_unwind(AssertUnwindSafe(|| (self.options.on_event)(event)));
            self.told().1 = false;
        }
    }

    fn told(&self) -> MutexGuard<'_, (VecDeque<Event>, bool)> {
        self.told.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
