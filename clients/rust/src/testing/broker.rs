use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::future::{ready, Ready};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::server::{Grpc, ServerStreamingService, UnaryService};
use tonic::{Code, Response, Status};
use tonic_prost::ProstCodec;

use super::state_of;
use crate::error::CODES;
use crate::gen::force_refresh_request::Rejected;
use crate::gen::watch_token_response::Event;
use crate::gen::{self, AppRemoved, ErrorInfo, ForceRefreshOutcome, ForceRefreshRequest, ForceRefreshResponse, GetRequest, GetResponse};
use crate::gen::{Goaway, Heartbeat, RetryInfo, TokenState, WatchTokenRequest, WatchTokenResponse};

/// A real broker's pause between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A broker in this process, on a port of loopback, without TLS or keys. Its tokens are made up, and live for two hours. It ends when it is dropped. Its methods panic for an app that it does not have.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use lingpai::testing::FakeBroker;
/// use lingpai::{Client, Rejected};
///
/// let broker = FakeBroker::start(["wx1"]).await?;
/// let client = Client::builder(&broker.target()).app("wx1").build().await?;
/// let source = client.app("wx1")?;
/// broker.kill("wx1"); // as if somebody else had minted a token
/// source
///     .call(|token| {
///         let errcode = if broker.honours("wx1", token.value()) { 0 } else { 40001 };
///         async move { Rejected::check(errcode) }
///     })
///     .await?;
/// assert_eq!(broker.reports(), 1);
/// assert_eq!(source.token()?.generation(), 2);
/// # Ok(())
/// # }
/// ```
pub struct FakeBroker {
    shared: Arc<Shared>,
    address: SocketAddr,
    serving: AbortHandle,
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Shared {
    state: Mutex<State>,
    stopped: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    apps: BTreeMap<String, FakeApp>,
    streams: Vec<Stream>,
    refusal: Option<Refusal>,
    reports: u64,
}

#[derive(Default)]
struct FakeApp {
    generation: u64,
    /// Every value that was made, the newest last.
    issued: Vec<String>,
    killed: HashSet<String>,
}

struct Stream {
    apps: Vec<String>,
    sender: mpsc::UnboundedSender<Result<WatchTokenResponse, Status>>,
}

#[derive(Clone)]
struct Refusal {
    code: Code,
    reason: String,
    app: Option<String>,
    retry_after: Duration,
}

impl FakeBroker {
    /// Starts one that has a token of each app. Must be called in a runtime of tokio. Fails where no port can be had.
    pub async fn start<A: Into<String>>(apps: impl IntoIterator<Item = A>) -> io::Result<FakeBroker> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { state: Mutex::default(), stopped: watch::Sender::new(false) });
        for app in apps {
            shared.lock().add(app.into());
        }
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared))).abort_handle();
        Ok(FakeBroker { shared, address, serving })
    }

    /// What [`Client::builder`](crate::Client::builder) takes.
    pub fn target(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a new token, tells every stream, and gives its value. The one before it is still honoured.
    pub fn rotate(&self, app: &str) -> String {
        self.shared.lock().rotate(app)
    }

    /// Every token made so far is refused from now on: a report of the newest makes a new one. Nobody is told.
    pub fn kill(&self, app: &str) {
        let mut state = self.shared.lock();
        let own = state.of(app);
        own.killed.extend(own.issued.iter().cloned());
    }

    /// Whether WeChat would take this value: the newest token or the one before it, unless it was killed.
    pub fn honours(&self, app: &str, value: &str) -> bool {
        let mut state = self.shared.lock();
        let own = state.of(app);
        own.issued.iter().rev().take(2).any(|issued| issued == value) && !own.killed.contains(value)
    }

    /// Takes the app out of the configuration: every stream is told, and who asks for it from now on is answered NOT_FOUND.
    pub fn remove(&self, app: &str) {
        let mut state = self.shared.lock();
        state.of(app);
        state.apps.remove(app);
        state.tell(Some(app), &Event::Removed(AppRemoved { app_id: app.into() }));
    }

    /// Has one more app, with a token of generation 1. Streams that name it already are told.
    pub fn add(&self, app: &str) {
        self.shared.lock().add(app.into());
    }

    /// Asks each client to open its stream anew after so long (a goaway), and ends the streams.
    pub fn drain(&self, reconnect_after: Duration) {
        let reconnect_after = prost_types::Duration::try_from(reconnect_after).ok();
        let mut state = self.shared.lock();
        state.tell(None, &Event::Goaway(Goaway { reconnect_after }));
        state.streams.clear();
    }

    /// Answers every call from now on with an error, until [`FakeBroker::accept`]: `refuse("RESOURCE_EXHAUSTED", "COOLDOWN", Duration::from_secs(60))`.
    /// `code` is a gRPC code's name, `reason` an `ErrorReason` or empty, `retry_after` what RetryInfo asks for; zero: there is none. Streams that are open go on.
    /// Panics for a code that there is not.
    pub fn refuse(&self, code: &str, reason: &str, retry_after: Duration) {
        let number = CODES.iter().position(|name| *name == code).expect("the name of a gRPC code");
        let refusal = Refusal { code: Code::from_i32(number as i32), reason: reason.into(), app: None, retry_after };
        self.shared.lock().refusal = Some(refusal);
    }

    /// Answers every call as if it asked for this app and the app were not known, which no broker would.
    #[cfg(test)]
    pub(crate) fn refuse_for(&self, app: &str) {
        let (reason, app) = ("APP_NOT_FOUND".into(), Some(app.into()));
        self.shared.lock().refusal = Some(Refusal { code: Code::NotFound, reason, app, retry_after: Duration::ZERO });
    }

    /// Answers calls again.
    pub fn accept(&self) {
        self.shared.lock().refusal = None;
    }

    /// Ends every connection, and each new one at once, until [`FakeBroker::resume`].
    pub fn stop(&self) {
        self.shared.stopped.send_replace(true);
        self.shared.lock().streams.clear();
    }

    /// Takes connections again, on the same port, with the tokens of before.
    pub fn resume(&self) {
        self.shared.stopped.send_replace(false);
    }

    /// How many reports came.
    pub fn reports(&self) -> u64 {
        self.shared.lock().reports
    }

    /// Tells every stream of an app a state as it is, which no broker would.
    #[cfg(test)]
    pub(crate) fn tell(&self, told: TokenState) {
        let app = told.app_id.clone();
        self.shared.lock().tell(Some(&app), &Event::State(told));
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut stopped = shared.stopped.subscribe();
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                if !*stopped.borrow() {
                    connections.spawn(connection(socket, Arc::clone(&shared)));
                }
            }
            Ok(()) = stopped.changed() => {
                if *stopped.borrow_and_update() {
                    connections.abort_all();
                }
            }
            Some(_) = connections.join_next() => {}
            _ = heartbeat.tick() => shared.lock().tell(None, &Event::Heartbeat(Heartbeat::default())),
        }
    }
}

async fn connection(socket: TcpStream, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(|request| answer(Arc::clone(&shared), request));
    // What befalls a connection is the client's to tell.
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
}

async fn answer(shared: Arc<Shared>, request: http::Request<Incoming>) -> Result<http::Response<tonic::body::Body>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match path.strip_prefix("/lingpai.v1.TokenService/") {
        Some("Get") => Grpc::new(ProstCodec::default()).unary(Answers(|request| shared.lock().get(&request)), request).await,
        Some("ForceRefresh") => {
            Grpc::new(ProstCodec::default()).unary(Answers(|request| shared.lock().force_refresh(&request)), request).await
        }
        Some("WatchToken") => {
            Grpc::new(ProstCodec::default()).server_streaming(Answers(|request| shared.lock().watch(request)), request).await
        }
        _ => Status::unimplemented(format!("a fake broker has no {path}")).into_http(),
    })
}

/// A function as tonic wants it.
struct Answers<F>(F);

impl<In, Out, F: FnMut(In) -> Result<Out, Status>> UnaryService<In> for Answers<F> {
    type Response = Out;
    type Future = Ready<Result<Response<Out>, Status>>;

    fn call(&mut self, request: tonic::Request<In>) -> Self::Future {
        ready((self.0)(request.into_inner()).map(Response::new))
    }
}

type Messages = UnboundedReceiverStream<Result<WatchTokenResponse, Status>>;

impl<F: FnMut(WatchTokenRequest) -> Result<Messages, Status>> ServerStreamingService<WatchTokenRequest> for Answers<F> {
    type Response = WatchTokenResponse;
    type ResponseStream = Messages;
    type Future = Ready<Result<Response<Messages>, Status>>;

    fn call(&mut self, request: tonic::Request<WatchTokenRequest>) -> Self::Future {
        ready((self.0)(request.into_inner()).map(Response::new))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn of(&mut self, app: &str) -> &mut FakeApp {
        self.apps.get_mut(app).unwrap_or_else(|| panic!("the fake broker does not have {app}"))
    }

    fn add(&mut self, app: String) {
        self.apps.insert(app.clone(), FakeApp::default());
        self.rotate(&app);
    }

    fn rotate(&mut self, app: &str) -> String {
        let value = format!("FAKE_{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..));
        let own = self.of(app);
        own.generation += 1;
        own.issued.push(value.clone());
        let event = Event::State(self.state(app));
        self.tell(Some(app), &event);
        value
    }

    /// Tells the streams of an app, or all.
    fn tell(&mut self, app: Option<&str>, event: &Event) {
        let is_meant = |stream: &Stream| app.is_none_or(|app| stream.apps.iter().any(|of| of == app));
        // One that nobody reads any more is forgotten.
        self.streams.retain(|stream| !is_meant(stream) || stream.sender.send(Ok(message(event.clone()))).is_ok());
    }

    fn state(&mut self, app: &str) -> TokenState {
        let own = self.of(app);
        let mut newest = own.issued.iter().rev().map(String::as_str);
        state_of(app, own.generation, newest.next().unwrap_or_default(), newest.next())
    }

    /// Whether a call is answered at all.
    fn check(&self, apps: &[String]) -> Result<(), Status> {
        if let Some(Refusal { code, reason, app, retry_after }) = &self.refusal {
            return Err(failure(*code, reason, "the fake broker refuses", app.as_deref(), *retry_after));
        }
        let stranger = apps.iter().find(|app| !self.apps.contains_key(*app));
        stranger.map_or(Ok(()), |app| Err(failure(Code::NotFound, "APP_NOT_FOUND", "no such app", Some(app), Duration::ZERO)))
    }

    fn get(&mut self, request: &GetRequest) -> Result<GetResponse, Status> {
        self.check(std::slice::from_ref(&request.app_id))?;
        Ok(GetResponse { state: Some(self.state(&request.app_id)), server_time: now() })
    }

    fn force_refresh(&mut self, request: &ForceRefreshRequest) -> Result<ForceRefreshResponse, Status> {
        self.reports += 1;
        self.check(std::slice::from_ref(&request.app_id))?;
        let own = self.of(&request.app_id);
        let newest = own.issued.last().cloned().unwrap_or_default();
        let is_newest = match &request.rejected {
            Some(Rejected::RejectedToken(value)) => *value == newest,
            Some(Rejected::RejectedGeneration(generation)) => *generation == own.generation,
            None => true,
        };
        let is_dead = own.killed.contains(&newest) || request.rejected.is_none();
        let outcome = match (is_newest, is_dead) {
            (false, _) => ForceRefreshOutcome::AlreadyNewer,
            (true, false) => ForceRefreshOutcome::StillValid,
            (true, true) => {
                self.rotate(&request.app_id);
                ForceRefreshOutcome::Refreshed
            }
        };
        Ok(ForceRefreshResponse { state: Some(self.state(&request.app_id)), outcome: outcome.into(), server_time: now() })
    }

    fn watch(&mut self, request: WatchTokenRequest) -> Result<Messages, Status> {
        self.check(&request.app_ids)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut events = vec![Event::Heartbeat(Heartbeat::default())];
        for app in &request.app_ids {
            let state = self.state(app);
            if request.known_generations.get(app).is_none_or(|known| *known < state.generation) {
                events.push(Event::State(state));
            }
        }
        for event in events {
            let _ = sender.send(Ok(message(event)));
        }
        self.streams.push(Stream { apps: request.app_ids, sender });
        Ok(UnboundedReceiverStream::new(receiver))
    }
}

fn now() -> Option<prost_types::Timestamp> {
    Some(SystemTime::now().into())
}

fn message(event: Event) -> WatchTokenResponse {
    WatchTokenResponse { server_time: now(), event: Some(event) }
}

/// An error as a broker makes it, with its details.
fn failure(code: Code, reason: &str, words: &str, app: Option<&str>, retry_after: Duration) -> Status {
    let any = |name: &str, value| prost_types::Any { type_url: format!("type.googleapis.com/google.rpc.{name}"), value };
    let metadata = app.map(|app| ("app_id".to_owned(), app.to_owned())).into_iter().collect();
    let info = ErrorInfo { reason: reason.into(), domain: "lingpai".into(), metadata };
    let mut details = vec![any("ErrorInfo", info.encode_to_vec())];
    if retry_after > Duration::ZERO {
        let retry_delay = prost_types::Duration::try_from(retry_after).ok();
        details.push(any("RetryInfo", RetryInfo { retry_delay }.encode_to_vec()));
    }
    let status = gen::Status { code: code as i32, message: words.into(), details };
    Status::with_details(code, words, status.encode_to_vec().into())
}
