use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::error::{chain, Error, RpcError};
use crate::event::Event;

/// The clocks of a client: for tests. An operator has no need of them.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From a stream's start, and between its messages: 25 s (R6).
    pub silence: Duration,
    /// A connection with its TLS handshake: 5 s (R6).
    pub connect: Duration,
    /// A unary call: 10 s.
    pub call: Duration,
    /// The first pause is at most so long, and each next one twice that: 0.5 s (R5).
    pub backoff_base: Duration,
    /// At most: 10 s (R5).
    pub backoff_cap: Duration,
    /// At least: 0.1 s (R5).
    pub backoff_floor: Duration,
    /// A stream that lived so long makes the pauses short again: 10 s (R5).
    pub life: Duration,
    /// The longest pause that a goaway may ask for: 60 s (R7).
    pub goaway_cap: Duration,
    /// The longest that RetryInfo may ask for: 5 min (R8).
    pub retry_cap: Duration,
    /// The first pause where somebody must mend something: 30 s (R9).
    pub slow: Duration,
    /// The longest such pause: 5 min (R9).
    pub slow_cap: Duration,
    /// Between questions for an app that the broker does not know: 60 s (R10).
    pub app_retry: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            silence: Duration::from_secs(25),
            connect: Duration::from_secs(5),
            call: Duration::from_secs(10),
            backoff_base: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(10),
            backoff_floor: Duration::from_millis(100),
            life: Duration::from_secs(10),
            goaway_cap: Duration::from_secs(60),
            retry_cap: Duration::from_secs(300),
            slow: Duration::from_secs(30),
            slow_cap: Duration::from_secs(300),
            app_retry: Duration::from_secs(60),
        }
    }
}

type KeySource = dyn Fn() -> Result<String, Box<dyn StdError + Send + Sync>> + Send + Sync;

#[derive(Clone)]
pub(crate) enum Key {
    None,
    Value(String),
    File(PathBuf),
    Callback(Arc<KeySource>),
}

/// How a client is made: [`Client::builder`].
#[derive(Clone)]
pub struct ClientBuilder {
    target: String,
    pub(crate) apps: Vec<String>,
    pub(crate) start_timeout: Duration,
    pub(crate) start_optional: bool,
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    key: Key,
    keys: u8,
    plaintext: bool,
    pub(crate) on_event: Arc<dyn Fn(Event) + Send + Sync>,
    pub(crate) timing: Timing,
    is_tls: bool,
    pub(crate) uri: String,
    /// Answers reports in the broker's place.
    #[cfg(feature = "testing")]
    pub(crate) fixed: Option<Arc<dyn Fn() -> crate::gen::ForceRefreshResponse + Send + Sync>>,
}

impl ClientBuilder {
    pub(crate) fn new(target: &str) -> ClientBuilder {
        ClientBuilder {
            target: target.into(),
            apps: Vec::new(),
            start_timeout: Duration::from_secs(10),
            start_optional: false,
            ca: None,
            certificate: None,
            key: Key::None,
            keys: 0,
            plaintext: false,
            on_event: Arc::new(|_| {}),
            timing: Timing::default(),
            is_tls: false,
            uri: String::new(),
            #[cfg(feature = "testing")]
            fixed: None,
        }
    }

    /// An app to hold a token of: 1 to 64 characters of A-Z, a-z, 0-9, `-` and `_`. 1 to 10,000 apps are named.
    pub fn app(mut self, app: impl Into<String>) -> ClientBuilder {
        self.apps.push(app.into());
        self
    }

    /// How long the start waits for a token of every app; 10 seconds without this (R4).
    pub fn start_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.start_timeout = timeout;
        self
    }

    /// The start returns at once; reads fail with [`Error::NoToken`] until a token is here.
    pub fn start_optional(mut self) -> ClientBuilder {
        self.start_optional = true;
        self
    }

    /// The path of a PEM file of who signs the broker's certificate, read at each attempt. Without it the system's CAs are trusted. Where the target has
    /// no scheme, TLS is spoken with it (R18).
    pub fn ca(mut self, path: impl Into<PathBuf>) -> ClientBuilder {
        self.ca = Some(path.into());
        self
    }

    /// The client's certificate and its private key: paths of PEM files, read at each attempt.
    pub fn certificate(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> ClientBuilder {
        self.certificate = Some((cert.into(), key.into()));
        self
    }

    /// An access key, or another bearer token: visible ASCII. It is sent as `authorization: Bearer KEY`. One of `key`, `key_file` and `key_callback` is given.
    pub fn key(self, key: impl Into<String>) -> ClientBuilder {
        self.with_key(Key::Value(key.into()))
    }

    /// The path of a file with it, read at each attempt; white space around it is cut. One that cannot be read is asked for again by R9.
    pub fn key_file(self, path: impl Into<PathBuf>) -> ClientBuilder {
        self.with_key(Key::File(path.into()))
    }

    /// Gives it, asked at each attempt. It must not block. Where it fails or panics, the attempt has failed by R9.
    pub fn key_callback(self, key: impl Fn() -> Result<String, Box<dyn StdError + Send + Sync>> + Send + Sync + 'static) -> ClientBuilder {
        self.with_key(Key::Callback(Arc::new(key)))
    }

    fn with_key(mut self, key: Key) -> ClientBuilder {
        self.key = key;
        self.keys += 1;
        self
    }

    /// A key may go to another machine without TLS. Else it goes to loopback only.
    pub fn plaintext(mut self) -> ClientBuilder {
        self.plaintext = true;
        self
    }

    /// Told of what happens, one event after the other, never of a token's value. It must not block; it may use the client, and a panic of it is
    /// swallowed (R17). A [`Client`] or a source that it keeps is never the last to be dropped: such a client lives until it is closed.
    pub fn on_event(mut self, observe: impl Fn(Event) + Send + Sync + 'static) -> ClientBuilder {
        self.on_event = Arc::new(observe);
        self
    }

    /// The client's clocks: for tests.
    pub fn timing(mut self, timing: Timing) -> ClientBuilder {
        self.timing = timing;
        self
    }

    /// Makes the client, and waits until a token of every app is held, 10 seconds at most without `start_timeout` (R4). Must be called in a runtime of
    /// tokio. A start that failed leaves nothing behind.
    ///
    /// Fails with [`Error::Configuration`]; with [`Error::Rpc`] at once where the broker does not know an app or refuses the key; with
    /// [`Error::StartTimeout`] where a token is still missing. With `start_optional` it waits for nothing.
    pub async fn build(mut self) -> Result<Client, Error> {
        self.check().map_err(Error::Configuration)?;
        Client::start(self).await
    }

    fn check(&mut self) -> Result<(), String> {
        let (scheme, address) = self.target.split_once("://").unwrap_or(("", &self.target));
        let address = address.trim_end_matches('/');
        let uri: Option<http::Uri> = format!("http://{address}").parse().ok();
        let Some(uri) = uri.filter(|uri| {
            uri.host().is_some_and(|host| !host.is_empty())
                && uri.port_u16().is_some()
                && uri.path() == "/"
                && !address.contains('@')
                && matches!(scheme, "" | "http" | "https")
        }) else {
            return Err(format!("target {} is no address: write HOST:PORT, http://HOST:PORT or https://HOST:PORT", self.target));
        };
        self.is_tls = scheme == "https" || scheme.is_empty() && (self.ca.is_some() || self.certificate.is_some());
        self.uri = format!("{}://{address}", if self.is_tls { "https" } else { "http" });
        let unique: BTreeSet<_> = self.apps.drain(..).collect();
        self.apps = unique.into_iter().collect();
        if self.apps.is_empty() || self.apps.len() > 10_000 {
            return Err(format!("there are {} apps: name 1 to 10000", self.apps.len()));
        }
        let is_id = |app: &String| {
            (1..=64).contains(&app.len()) && app.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        if let Some(app) = self.apps.iter().find(|app| !is_id(app)) {
            return Err(format!("app {app:?}: an app id has 1 to 64 characters of A-Z, a-z, 0-9, - and _"));
        }
        if self.keys > 1 {
            return Err("key, key_file and key_callback are given together: give one of them".into());
        }
        if matches!(&self.key, Key::Value(key) if !is_key(key)) {
            return Err("key is no key: write what `lingpai keys create` printed, and nothing else".into());
        }
        let key_file = if let Key::File(path) = &self.key { Some(path) } else { None };
        let (cert, cert_key) = self.certificate.as_ref().map(|(cert, key)| (cert, key)).unzip();
        for (option, path) in [("key_file", key_file), ("ca", self.ca.as_ref()), ("certificate", cert), ("certificate", cert_key)] {
            if path.is_some_and(|path| path.as_os_str().is_empty()) {
                return Err(format!("{option} is empty: write the path of a file"));
            }
        }
        if !self.is_tls && (self.ca.is_some() || self.certificate.is_some()) {
            let option = if self.ca.is_some() { "ca" } else { "certificate" };
            return Err(format!("{option} is given, but {} is without TLS: write https://{address}", self.target));
        }
        if self.start_timeout.is_zero() {
            return Err("start_timeout is 0: write more, or start_optional where the start waits for nothing".into());
        }
        if self.keys > 0 && !self.is_tls && !self.plaintext && !is_loopback(uri.host().unwrap_or_default()) {
            return Err(format!(
                "the key would go to {address} unencrypted: write https://{address}, or set plaintext where nobody can listen in between"
            ));
        }
        Ok(())
    }

    /// The key, read anew.
    pub(crate) fn bearer(&self) -> Result<Option<String>, RpcError> {
        let unreadable = |words: String| RpcError::of("UNAUTHENTICATED", format!("the key cannot be read: {words}"), true);
        let key = match &self.key {
            Key::None => return Ok(None),
            Key::Value(key) => key.clone(),
            Key::File(path) => {
                std::fs::read_to_string(path).map_err(|error| unreadable(format!("{}: {error}", path.display())))?.trim().to_owned()
            }
            Key::Callback(key) => match catch_unwind(AssertUnwindSafe(|| key())) {
                Ok(key) => key.map_err(|error| unreadable(error.to_string()))?,
                Err(_) => return Err(unreadable("key_callback panicked".into())),
            },
        };
        if !is_key(&key) {
            return Err(unreadable("it is empty, or has characters that a key does not have".into()));
        }
        Ok(Some(key))
    }

    /// Where to connect, with certificates that are read anew.
    pub(crate) fn endpoint(&self) -> Result<tonic::transport::Endpoint, RpcError> {
        let broken = |words: String| RpcError::of("UNAUTHENTICATED", format!("the certificates cannot be used: {words}"), true);
        let read = |path: &PathBuf| std::fs::read(path).map_err(|error| broken(format!("{}: {error}", path.display())));
        let endpoint = tonic::transport::Endpoint::from_shared(self.uri.clone())
            .and_then(|endpoint| endpoint.user_agent("lingpai-rust/0.1.0"))
            .map_err(|error| broken(error.to_string()))?
            .connect_timeout(self.timing.connect)
            .tcp_nodelay(true);
        if !self.is_tls {
            return Ok(endpoint);
        }
        let mut tls = tonic::transport::ClientTlsConfig::new();
        tls = match &self.ca {
            Some(path) => tls.ca_certificate(tonic::transport::Certificate::from_pem(read(path)?)),
            None => tls.with_native_roots(),
        };
        if let Some((cert, key)) = &self.certificate {
            tls = tls.identity(tonic::transport::Identity::from_pem(read(cert)?, read(key)?));
        }
        endpoint.tls_config(tls).map_err(|error| broken(chain(&error)))
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_loopback(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}
