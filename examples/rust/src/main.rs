//! A small service that calls WeChat every few seconds, with the token of one app that a Lingpai broker pushes to it.

use std::env;
use std::error::Error as StdError;
use std::process::ExitCode;
use std::time::Duration;

use lingpai::{CallError, Client, ClientBuilder, Error, Event, Rejected};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

type Failure = Box<dyn StdError + Send + Sync>;

struct Settings {
    app: String,
    every: Duration,
    wechat: reqwest::Url,
}

/// Writes one JSON line. It is told of no secret.
fn print(line: Value) {
    println!("{line}");
}

fn on_event(event: Event) {
    let ms = |time: Duration| time.as_millis() as u64;
    match event {
        Event::State { app, is_held, generation, token_id, reason } => print(json!({
            "event": "state", "app": app, "state": if is_held { "HELD" } else { "NONE" },
            "generation": generation.to_string(), "token_id": token_id, "reason": reason,
        })),
        Event::Reconnect => print(json!({"event": "reconnect"})),
        Event::Goaway { after } => print(json!({"event": "goaway", "after_ms": ms(after)})),
        Event::Report { app, outcome } => print(json!({"event": "report", "app": app, "outcome": outcome})),
        Event::Error { during, code, reason, message, retry_in } => print(json!({
            "event": "error", "during": during, "code": code, "reason": reason, "message": message, "retry_in_ms": ms(retry_in),
        })),
        _ => {}
    }
}

/// A variable of the environment that is set and not empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn settings() -> Result<Settings, String> {
    let (mut app, mut every) = (None, Duration::from_secs(5));
    let mut args = env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or(format!("{flag}: write a value after it"))?;
        match &*flag {
            "--app" => app = Some(value),
            "--every-ms" => {
                let ms = value.parse().ok().filter(|ms| *ms > 0);
                every = Duration::from_millis(ms.ok_or("--every-ms: write milliseconds, at least 1")?);
            }
            _ => return Err(format!("{flag} is no flag: write --app ID, and --every-ms N where 5000 is not wanted")),
        }
    }
    let app = app.ok_or("--app is required: the id of an app that the broker serves")?;
    let wechat = variable("WECHAT_URL").unwrap_or("https://api.weixin.qq.com".into());
    let wechat = reqwest::Url::parse(&wechat).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let wechat = wechat.ok_or("WECHAT_URL: write where WeChat is, such as https://api.weixin.qq.com")?;
    Ok(Settings { app, every, wechat })
}

/// A client's options, out of the environment.
fn options(app: &str) -> Result<ClientBuilder, String> {
    let target = variable("LINGPAI_ADDR").unwrap_or("127.0.0.1:7600".into());
    let mut options = Client::builder(&target).app(app).start_timeout(Duration::from_secs(30)).on_event(on_event);
    if let Some(path) = variable("LINGPAI_CA") {
        options = options.ca(path);
    }
    match (variable("LINGPAI_CERT"), variable("LINGPAI_CERT_KEY")) {
        (None, None) => {}
        (Some(cert), Some(key)) => options = options.certificate(cert, key),
        _ => return Err("LINGPAI_CERT and LINGPAI_CERT_KEY go together: set both or neither".into()),
    }
    if let Some(path) = variable("LINGPAI_KEY_FILE") {
        options = options.key_file(path);
    }
    if let Some(key) = variable("LINGPAI_KEY") {
        options = options.key(key);
    }
    if variable("LINGPAI_PLAINTEXT").as_deref() == Some("1") {
        options = options.plaintext();
    }
    Ok(options)
}

/// What WeChat answers, whatever it is asked.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errcode: i64,
    #[serde(default)]
    errmsg: String,
}

/// Makes a call that needs nothing but a token. Fails with `Rejected` where WeChat refused it.
async fn call_wechat(http: reqwest::Client, mut url: reqwest::Url, token: &str) -> Result<(), Failure> {
    url.set_path("/cgi-bin/get_api_domain_ip");
    url.query_pairs_mut().append_pair("access_token", token);
    // The URL holds the token: an error must not show it.
    let answer = http.get(url).send().await.map_err(reqwest::Error::without_url)?;
    let Answer { errcode, errmsg } = answer.json().await.map_err(reqwest::Error::without_url)?;
    Rejected::check(errcode)?;
    if errcode != 0 {
        return Err(format!("WeChat answers errcode {errcode}, {errmsg}").into());
    }
    Ok(())
}

/// Calls WeChat again and again.
async fn serve(client: &Client, Settings { app, every, wechat }: Settings) -> Result<(), Failure> {
    let source = client.app(&app)?;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    loop {
        let mut token_id = String::new();
        let result = source
            .call(|token| {
                token_id = token.id().into();
                let (http, wechat) = (http.clone(), wechat.clone());
                async move { call_wechat(http, wechat, token.value()).await }
            })
            .await;
        match result {
            Ok(()) => print(json!({"event": "call", "ok": true, "token_id": token_id})),
            Err(error) => print(json!({"event": "call", "ok": false, "token_id": token_id, "message": words(&error)})),
        }
        tokio::time::sleep(every).await;
    }
}

/// An error of a call, with all that is behind it.
fn words(error: &CallError<Failure>) -> String {
    let mut words = error.to_string();
    let CallError::Business(business) = error else { return words };
    let mut cause = business.source();
    while let Some(behind) = cause {
        words += &format!(": {behind}");
        cause = behind.source();
    }
    words
}

fn wrong(words: &str) -> ExitCode {
    eprintln!("token-service: {words}");
    ExitCode::from(2)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (settings, options) = match settings().and_then(|settings| Ok((options(&settings.app)?, settings))) {
        Ok((options, settings)) => (settings, options),
        Err(words) => return wrong(&words),
    };
    let (mut terminated, mut interrupted) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminated), Ok(interrupted)) => (terminated, interrupted),
        _ => return wrong("signals cannot be heard here"),
    };
    let service = async {
        let client = match options.build().await {
            Ok(client) => client,
            Err(Error::Configuration(words)) => {
                let words = words.replace("target ", "LINGPAI_ADDR ").replace("set plaintext", "set LINGPAI_PLAINTEXT=1");
                return wrong(&words.replace("key, key_file and key_callback", "LINGPAI_KEY and LINGPAI_KEY_FILE"));
            }
            Err(error) => {
                let (code, reason) = match &error {
                    Error::Rpc(rpc) => (rpc.code, &*rpc.reason),
                    _ => ("StartTimeout", ""),
                };
                let message = error.to_string();
                print(json!({"event": "error", "during": "start", "code": code, "reason": reason, "message": message}));
                eprintln!("token-service: {message}");
                return ExitCode::FAILURE;
            }
        };
        match serve(&client, settings).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => wrong(&error.to_string()),
        }
    };
    tokio::select! {
        code = service => return code,
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    print(json!({"event": "stopped"}));
    ExitCode::SUCCESS
}
