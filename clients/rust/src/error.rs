use std::error::Error as StdError;
use std::time::Duration;
use std::{fmt, io, iter};

use prost::Message;

use crate::gen;

/// Why there is no token. `Display` writes it as the rules do: `NOT_FOUND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing was said of the app yet.
    Waiting,
    /// There has never been a token.
    Pending,
    /// The token's life is over.
    Expired,
    /// The app was taken out of the broker's configuration.
    Removed,
    /// The broker does not know the app, or this caller may not read it. It is asked again every minute (R10).
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

/// What this library fails with. None has a token's value or a key in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// A read found no token.
    NoToken {
        /// The app that has none.
        app: String,
        /// Why.
        reason: Reason,
        /// The broker's own words on it; empty where it has none.
        words: String,
    },
    /// The start did not get a token of every app in time (R4).
    StartTimeout {
        /// The apps that have none.
        apps: Vec<String>,
        /// What the last stream failed with, where one did.
        last: Option<Box<RpcError>>,
    },
    /// A call of the broker failed: it answered with an error, or was not reached.
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

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::StartTimeout { last: Some(error), .. } | Error::Rpc(error) => Some(&**error),
            _ => None,
        }
    }
}

/// A call of the broker failed: it answered with an error, or it could not be reached.
#[derive(Clone, Debug)]
pub struct RpcError {
    /// The name of the gRPC code: `UNAVAILABLE`, also where the broker was not reached.
    pub code: &'static str,
    /// The broker's `ErrorReason`, `APP_NOT_FOUND` for one; empty where the error is not the broker's own.
    pub reason: String,
    /// The app that the error is about, or empty.
    pub app: String,
    /// What RetryInfo asks for, or zero. Not cut: the client waits 5 minutes at most (R8).
    pub retry_after: Duration,
    /// Somebody must mend it: a key, a permission, an address, a certificate. Such streams are opened anew seldom (R9).
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
        if !self.app.is_empty() && !self.words.contains(&self.app) {
            write!(formatter, " ({})", self.app)?;
        }
        Ok(())
    }
}

impl StdError for RpcError {}

impl RpcError {
    pub(crate) fn unavailable(words: impl Into<String>) -> RpcError {
        RpcError::of("UNAVAILABLE", words, false)
    }

    pub(crate) fn of(code: &'static str, words: impl Into<String>, needs_operator: bool) -> RpcError {
        RpcError { code, reason: String::new(), app: String::new(), retry_after: Duration::ZERO, needs_operator, words: words.into() }
    }

    /// There is no connection, or it was lost before an answer came.
    pub(crate) fn no_connection(error: &(dyn StdError + 'static)) -> RpcError {
        let io: Vec<&io::Error> = causes(error).filter_map(|cause| cause.downcast_ref()).collect();
        // What rustls refuses is told by this kind, and of rustls' own error it may be all that is left; a peer that is gone is told by another.
        let is_tls = io.iter().any(|io| io.kind() == io::ErrorKind::InvalidData);
        let mut words = chain(error);
        if is_tls {
            words += " (TLS needs a port that speaks it, with a certificate for this host by a CA that is trusted here)";
        } else if io.is_empty() {
            words += " (is this the broker's gRPC port, and does it take http:// or https:// as you wrote?)";
        }
        RpcError::of("UNAVAILABLE", words, is_tls)
    }

    /// The error of a stream that is open, which had a good handshake: whatever befalls its connection is no failure of TLS.
    pub(crate) fn of_stream(status: &tonic::Status) -> RpcError {
        lost(status).map_or_else(|| RpcError::answered(status), |source| RpcError::unavailable(chain(source)))
    }

    /// The error of a call, or of a stream that was not opened.
    pub(crate) fn of_call(status: &tonic::Status) -> RpcError {
        lost(status).map_or_else(|| RpcError::answered(status), RpcError::no_connection)
    }

    fn answered(status: &tonic::Status) -> RpcError {
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

/// What befell the connection, where that is what the status tells. Codes that HTTP/2 gave stand.
fn lost(status: &tonic::Status) -> Option<&(dyn StdError + 'static)> {
    status.source().filter(|_| matches!(status.code(), tonic::Code::Unknown | tonic::Code::Cancelled))
}

/// An error, and what is behind it. What an `io::Error` wraps is behind it too, which its own `source` leaves out.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

/// An error, and what is behind it, in words: each thing is said once.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut words = String::new();
    for cause in causes(error).map(ToString::to_string) {
        if !words.ends_with(&cause) {
            words = if words.is_empty() { cause } else { format!("{words}: {cause}") };
        }
    }
    words
}

/// A duration of protobuf's; zero where it is negative.
pub(crate) fn duration_of(duration: prost_types::Duration) -> Duration {
    Duration::new(duration.seconds.try_into().unwrap_or(0), duration.nanos.try_into().unwrap_or(0))
}

pub(crate) const CODES: [&str; 17] = [
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

/// What a business call fails with when WeChat refuses the access_token: errcode 40001, 40014 or 42001 (R12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// WeChat's errcode.
    pub errcode: i64,
}

impl Rejected {
    /// Fails where the errcode says that the access_token was refused. Another errcode is not about the token: it is yours to handle.
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

impl StdError for Rejected {}

/// An error of a business call that may be WeChat's refusal of the access_token: [`Rejected`], a boxed error that is one or has one as its
/// source, or an error of your own.
///
/// ```
/// enum Failure {
///     Rejected(lingpai::Rejected),
///     Network(std::io::Error),
/// }
///
/// impl lingpai::MayReject for Failure {
///     fn is_rejected(&self) -> bool {
///         matches!(self, Failure::Rejected(_))
///     }
/// }
/// ```
pub trait MayReject {
    /// Whether it is.
    fn is_rejected(&self) -> bool;

    /// The error itself: [`CallError::Business`] has its source. An error of your own that is a [`std::error::Error`] gives `Some(self)`.
    fn as_error(&self) -> Option<&(dyn StdError + 'static)> {
        None
    }
}

impl MayReject for Rejected {
    fn is_rejected(&self) -> bool {
        true
    }

    fn as_error(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self)
    }
}

impl MayReject for Box<dyn StdError + Send + Sync> {
    fn is_rejected(&self) -> bool {
        causes(&**self).any(<dyn StdError>::is::<Rejected>)
    }

    fn as_error(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&**self)
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

impl<E: MayReject + fmt::Debug + fmt::Display> StdError for CallError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            CallError::Client(error) => Some(error),
            // It stands for that error, not behind it: a refusal that this call could not mend is none of a call around it.
            CallError::Business(error) => error.as_error()?.source(),
        }
    }
}
