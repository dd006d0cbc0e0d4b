use std::fmt;
use std::time::Duration;

use prost::Message;

use crate::gen;

/// Why there is no token: SPEC.md has what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing was said of the app yet.
    Waiting,
    /// There has never been a token.
    Pending,
    /// The token's life is over.
    Expired,
    /// The app was taken out of the broker's configuration.
    Removed,
    /// The broker does not know the app.
    NotFound,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Reason::Waiting => "WAITING",
            Reason::Pending => "PENDING",
            Reason::Expired => "EXPIRED",
            Reason::Removed => "REMOVED",
            Reason::NotFound => "NOT_FOUND",
        })
    }
}

/// What this library fails with. None has a token's value in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// A read found no token. `words` are the broker's own; empty where it has none.
    NoToken { app: String, reason: Reason, words: String },
    /// The start did not get a token of every app in time. `apps` have none.
    StartTimeout { apps: Vec<String>, last: Option<Box<RpcError>> },
    /// A call of the broker failed.
    Rpc(Box<RpcError>),
    /// The client was closed.
    Closed,
    /// An option is wrong: it names the option, what is wrong, and what to write.
    Configuration(String),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoToken { app, reason, words } if words.is_empty() => write!(formatter, "no token of {app}: {reason}"),
            Error::NoToken { app, reason, words } => write!(formatter, "no token of {app}: {reason}, {words}"),
            Error::StartTimeout { apps, last } => {
                write!(formatter, "no token of {} in time", apps.join(", "))?;
                last.as_ref().map_or(Ok(()), |last| write!(formatter, ": {last}"))
            }
            Error::Rpc(error) => error.fmt(formatter),
            Error::Closed => formatter.write_str("the client is closed"),
            Error::Configuration(words) => formatter.write_str(words),
        }
    }
}

impl std::error::Error for Error {}

/// A call of the broker failed: it answered with an error, or it could not be reached.
#[derive(Clone, Debug)]
pub struct RpcError {
    /// The name of the gRPC code: `UNAVAILABLE`.
    pub code: &'static str,
    /// The broker's `ErrorReason`, `APP_NOT_FOUND` for one; empty where the error is not the broker's own.
    pub reason: String,
    /// What the error is about, or empty.
    pub app: String,
    /// What RetryInfo asks for, or zero.
    pub retry_after: Duration,
    /// Somebody must mend it: a key, a permission, an address, a certificate.
    pub needs_operator: bool,
    pub(crate) words: String,
}

impl RpcError {
    /// Whether the broker knows the app and only has no token of it yet: its refresh failed, and that is a Get's answer (R10).
    pub(crate) fn knows(&self, app: &str) -> bool {
        self.app == app && self.code != "NOT_FOUND" && !self.needs_operator
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code)?;
        for part in [&self.reason, &self.words] {
            if !part.is_empty() {
                write!(formatter, ": {part}")?;
            }
        }
        if !self.words.contains(&self.app) {
            write!(formatter, " ({})", self.app)?;
        }
        Ok(())
    }
}

impl std::error::Error for RpcError {}

impl RpcError {
    pub(crate) fn unavailable(words: impl Into<String>) -> RpcError {
        RpcError::of("UNAVAILABLE", words, false)
    }

    pub(crate) fn of(code: &'static str, words: impl Into<String>, needs_operator: bool) -> RpcError {
        RpcError { code, reason: String::new(), app: String::new(), retry_after: Duration::ZERO, needs_operator, words: words.into() }
    }

    pub(crate) fn from_status(status: &tonic::Status) -> RpcError {
        let code = CODES.get(status.code() as usize).copied().unwrap_or("UNKNOWN");
        let mut error = RpcError::of(code, status.message(), matches!(code, "UNAUTHENTICATED" | "PERMISSION_DENIED" | "UNIMPLEMENTED"));
        let details = gen::Status::decode(status.details()).map(|status| status.details).unwrap_or_default();
        for detail in details {
            if detail.type_url.ends_with("/google.rpc.ErrorInfo") {
                if let Ok(mut info) = gen::ErrorInfo::decode(&*detail.value) {
                    error.app = info.metadata.remove("app_id").unwrap_or_default();
                    error.reason = info.reason;
                }
            } else if detail.type_url.ends_with("/google.rpc.RetryInfo") {
                let delay = gen::RetryInfo::decode(&*detail.value).ok().and_then(|info| info.retry_delay);
                error.retry_after = delay.map_or(Duration::ZERO, duration_of);
            }
        }
        error
    }
}

/// A duration of protobuf's; zero where it is negative.
pub(crate) fn duration_of(duration: prost_types::Duration) -> Duration {
    Duration::new(duration.seconds.try_into().unwrap_or(0), duration.nanos.try_into().unwrap_or(0))
}

const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What a business call fails with when WeChat refuses the access_token: errcode 40001, 40014 or 42001.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// WeChat's errcode.
    pub errcode: i64,
}

impl Rejected {
    /// A refusal, where the errcode says that the access_token was refused.
    pub fn check(errcode: i64) -> Result<(), Rejected> {
        if matches!(errcode, 40001 | 40014 | 42001) {
            return Err(Rejected { errcode });
        }
        Ok(())
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WeChat refused the access_token: errcode {}", self.errcode)
    }
}

impl std::error::Error for Rejected {}

/// An error of a business call that may be WeChat's refusal of the access_token.
pub trait MayReject {
    /// Whether it is.
    fn is_rejected(&self) -> bool;
}

impl MayReject for Rejected {
    fn is_rejected(&self) -> bool {
        true
    }
}

impl MayReject for Box<dyn std::error::Error + Send + Sync> {
    fn is_rejected(&self) -> bool {
        self.is::<Rejected>()
    }
}

/// What [`Source::call`](crate::Source::call) fails with.
#[derive(Debug)]
pub enum CallError<E> {
    /// There is no token, or the client is closed: the business call was not made.
    Client(Error),
    /// The business call's own error.
    Business(E),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Client(error) => error.fmt(formatter),
            CallError::Business(error) => error.fmt(formatter),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for CallError<E> {}
