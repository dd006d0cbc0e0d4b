//! The kit's driver of this library: test/conformance/README.md says what it answers.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lingpai::{CallError, Client, Error, Event, Rejected, Source, Timing, Token};
use serde_json::{json, Map, Value};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};

type Failure = Box<dyn StdError + Send + Sync>;

struct Entry {
    client: Client,
    /// None once the client is closed by a user who keeps nothing.
    sources: HashMap<String, Source>,
    events: Arc<Mutex<Vec<Value>>>,
    seen: Mutex<HashMap<String, Arc<Token>>>,
}

/// An error of the user's own business.
#[derive(Debug)]
struct BusinessError(String);

impl std::fmt::Display for BusinessError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "errcode {}", self.0)
    }
}

impl StdError for BusinessError {}

/// What a request failed with, in the protocol's words.
struct Explained(Value);

impl From<Error> for Explained {
    fn from(error: Error) -> Explained {
        let message = error.to_string();
        Explained(match error {
            Error::NoToken { reason, .. } => json!({"kind": "NoToken", "reason": reason.to_string(), "message": message}),
            Error::StartTimeout { .. } => json!({"kind": "StartTimeout", "message": message}),
            Error::Rpc(rpc) => json!({"kind": "Rpc", "code": rpc.code, "reason": rpc.reason, "message": message}),
            Error::Closed => json!({"kind": "Closed", "message": message}),
            Error::Configuration(_) => json!({"kind": "Configuration", "message": message}),
            _ => json!({"kind": "Other", "message": message}),
        })
    }
}

fn id_of(value: &str) -> String {
    Sha256::digest(value).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

impl Entry {
    fn source(&self, request: &Value) -> Result<&Source, Explained> {
        self.sources.get(text(request, "app")).ok_or_else(|| Explained(json!({"kind": "Other", "message": "no such app"})))
    }

    fn shown(&self, token: &Arc<Token>) -> Value {
        let generation = token.generation().to_string();
        self.seen.lock().unwrap().insert(generation.clone(), Arc::clone(token));
        let mut shown = json!({"generation": generation, "tokenId": id_of(token.value())});
        if let Some(previous) = token.previous() {
            shown["previousId"] = id_of(previous.value()).into();
        }
        shown
    }
}

fn text<'a>(from: &'a Value, name: &str) -> &'a str {
    from[name].as_str().unwrap_or_default()
}

fn told(event: Event) -> Value {
    let ms = |time: Duration| time.as_millis() as u64;
    match event {
        Event::State { app, is_held, generation, token_id, reason } => json!({
            "type": "state", "app": app, "state": if is_held { "HELD" } else { "NONE" },
            "generation": generation.to_string(), "tokenId": token_id, "reason": reason,
        }),
        Event::Reconnect => json!({"type": "reconnect"}),
        Event::Goaway { after } => json!({"type": "goaway", "afterMs": ms(after)}),
        Event::Report { app, outcome } => json!({"type": "report", "app": app, "outcome": outcome}),
        Event::Error { during, code, reason, message, retry_in } => {
            json!({"type": "error", "during": during, "code": code, "reason": reason, "message": message, "retryInMs": ms(retry_in)})
        }
        _ => json!({"type": "closed"}),
    }
}

async fn create(options: &Value) -> Result<Entry, Explained> {
    let events = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&events);
    let mut builder = Client::builder(text(options, "target")).on_event(move |event| tell.lock().unwrap().push(told(event)));
    let apps: Vec<_> = options["apps"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for app in &apps {
        builder = builder.app(*app);
    }
    if let Some(ms) = options["startTimeoutMs"].as_u64() {
        builder = builder.start_timeout(Duration::from_millis(ms));
    }
    if options["startOptional"] == true {
        builder = builder.start_optional();
    }
    if options["plaintext"] == true {
        builder = builder.plaintext();
    }
    if let Some(ca) = options["tls"]["ca"].as_str() {
        builder = builder.ca(ca);
    }
    if let (Some(cert), Some(key)) = (options["tls"]["cert"].as_str(), options["tls"]["key"].as_str()) {
        builder = builder.certificate(cert, key);
    }
    if let Some(path) = options["keyFile"].as_str() {
        builder = builder.key_file(path);
    }
    let usual = Timing::default();
    let clock = |name: &str, usual: Duration| options["timing"][name].as_u64().map_or(usual, Duration::from_millis);
    builder = builder.timing(Timing {
        silence: clock("silenceMs", usual.silence),
        connect: clock("connectMs", usual.connect),
        call: clock("callMs", usual.call),
        backoff_base: clock("backoffBaseMs", usual.backoff_base),
        backoff_cap: clock("backoffCapMs", usual.backoff_cap),
        backoff_floor: clock("backoffFloorMs", usual.backoff_floor),
        life: clock("lifeMs", usual.life),
        goaway_cap: clock("goawayCapMs", usual.goaway_cap),
        retry_cap: clock("retryCapMs", usual.retry_cap),
        slow: clock("slowMs", usual.slow),
        slow_cap: clock("slowCapMs", usual.slow_cap),
        app_retry: clock("appRetryMs", usual.app_retry),
    });
    let client = builder.build().await?;
    let sources = apps.iter().map(|app| Ok(((*app).to_owned(), client.app(app)?))).collect::<Result<_, Error>>()?;
    Ok(Entry { client, sources, events, seen: Mutex::default() })
}

async fn call(entry: &Entry, request: &Value) -> Result<Value, Explained> {
    let ids = Mutex::new(Vec::new());
    let script: Vec<_> = request["script"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let result = entry
        .source(request)?
        .call(|token| {
            let mut ids = ids.lock().unwrap();
            ids.push(id_of(token.value()));
            let result = script.get(ids.len() - 1).copied().unwrap_or("ok").to_owned();
            async move {
                if result != "ok" {
                    Rejected::check(result.parse().unwrap_or_default())?;
                    return Err(BusinessError(result).into());
                }
                Ok::<(), Failure>(())
            }
        })
        .await;
    let ids = ids.into_inner().unwrap();
    let mut explained = match result {
        Ok(()) => return Ok(json!({"attempts": ids.len(), "tokenIds": ids})),
        Err(CallError::Client(error)) => Explained::from(error).0,
        Err(CallError::Business(error)) => match error.downcast_ref::<Rejected>() {
            Some(rejected) => json!({"kind": "Rejected", "code": rejected.errcode.to_string(), "message": error.to_string()}),
            None => {
                let code = error.downcast_ref::<BusinessError>().map_or("", |error| &error.0);
                json!({"kind": "Other", "code": code, "message": error.to_string()})
            }
        },
    };
    explained["attempts"] = ids.len().into();
    explained["tokenIds"] = ids.into();
    Err(Explained(explained))
}

async fn report(entry: &Entry, request: &Value) -> Result<Value, Explained> {
    let source = entry.source(request)?;
    let seen = entry.seen.lock().unwrap().get(text(request, "generation")).cloned();
    let refused = match seen {
        Some(token) => token,
        None => source.token()?,
    };
    let report = source.report(&refused).await?;
    let mut shown = entry.shown(&report.token);
    shown["outcome"] = report.outcome.into();
    Ok(shown)
}

async fn wait(entry: &Entry, request: &Value) -> Result<Value, Explained> {
    let generation = text(request, "generation").parse().unwrap_or_default();
    let limit = Duration::from_millis(request["timeoutMs"].as_u64().unwrap_or_default());
    match tokio::time::timeout(limit, entry.source(request)?.wait_for(generation)).await {
        Ok(token) => Ok(entry.shown(&token?)),
        Err(_) => Err(Explained(json!({"kind": "NoToken", "reason": "TIMEOUT"}))),
    }
}

fn stats(client: &Client) -> Value {
    let stats = client.stats();
    let apps: Map<_, _> = stats
        .apps
        .into_iter()
        .map(|(app, one)| {
            (app, json!({"state": one.state, "generation": one.generation.to_string(), "tokenId": one.token_id, "reason": one.reason}))
        })
        .collect();
    json!({
        "state": stats.state, "attempts": stats.attempts, "reconnects": stats.reconnects, "goaways": stats.goaways,
        "reports": stats.reports, "apps": apps,
    })
}

fn bench(source: &Source, reads: u64) -> Result<Value, Explained> {
    let start = Instant::now();
    let mut sum = 0;
    for _ in 0..reads {
        sum += std::hint::black_box(source.token()?).value().len();
    }
    assert!(sum > 0);
    Ok(json!({"nsPerRead": start.elapsed().as_nanos() as f64 / reads as f64}))
}

/// The runtime's own threads come and go: a library of tasks has none, so that open files tell what it left.
fn leaks() -> Value {
    let files = std::fs::read_dir("/proc/self/fd").map(|files| files.count()).unwrap_or_default();
    json!({"threads": 0, "files": files})
}

type Clients = Arc<Mutex<HashMap<String, Arc<Entry>>>>;

async fn answer(clients: &Clients, request: &Value) -> Result<Value, Explained> {
    let op = text(request, "op");
    match op {
        "hello" => return Ok(json!({"name": "rust", "version": "0.1.0", "transport": "grpc", "capabilities": ["tls"]})),
        "create" => {
            let entry = create(&request["options"]).await?;
            clients.lock().unwrap().insert(text(request, "client").to_owned(), Arc::new(entry));
            return Ok(json!({}));
        }
        "leaks" => return Ok(leaks()),
        _ => {}
    }
    let entry = clients.lock().unwrap().get(text(request, "client")).cloned();
    let entry = entry.ok_or_else(|| Explained(json!({"kind": "Other", "message": "no such client"})))?;
    match op {
        "token" => Ok(entry.shown(&entry.source(request)?.token()?)),
        "wait" => wait(&entry, request).await,
        "call" => call(&entry, request).await,
        "report" => report(&entry, request).await,
        "stats" => Ok(stats(&entry.client)),
        "events" => Ok(json!({"events": std::mem::take(&mut *entry.events.lock().unwrap())})),
        "bench" => bench(entry.source(request)?, request["reads"].as_u64().unwrap_or(1)),
        "close" => {
            entry.client.close().await;
            if request["forget"] == true {
                clients.lock().unwrap().remove(text(request, "client"));
            }
            Ok(json!({}))
        }
        _ => Err(Explained(json!({"kind": "Other", "message": "no such op"}))),
    }
}

#[tokio::main]
async fn main() {
    let clients = Clients::default();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(request) = serde_json::from_str::<Value>(&line) else { continue };
        let clients = Arc::clone(&clients);
        tokio::spawn(async move {
            let line = match answer(&clients, &request).await {
                Ok(ok) => json!({"id": request["id"], "ok": ok}),
                Err(Explained(error)) => json!({"id": request["id"], "error": error}),
            };
            println!("{line}");
        });
    }
    let entries: Vec<_> = clients.lock().unwrap().values().cloned().collect();
    for entry in entries {
        entry.client.close().await;
    }
}
