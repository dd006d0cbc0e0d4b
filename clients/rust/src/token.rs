use std::fmt;

use ring::digest::{digest, SHA256};
use tokio::time::Instant;

/// The name of a token in logs: the first 12 hexadecimal digits of its value's SHA-256. It is never taken from the broker, since it is printed.
pub(crate) fn id_of(value: &str) -> String {
    digest(&SHA256, value.as_bytes()).as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// One access_token. It does not change: when the broker has a newer one, the source has another `Token`. `Debug` and `Display` show its id (R18).
pub struct Token {
    pub(crate) value: String,
    pub(crate) id: String,
    pub(crate) generation: u64,
    /// When its life is over; `None`: it does not expire.
    pub(crate) until: Option<Instant>,
    pub(crate) previous: Option<Box<Token>>,
}

impl Token {
    /// The secret, 1 to 2,048 characters: send it as `access_token`, and never log it.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The first 12 hexadecimal digits of the value's SHA-256: the name of the token in logs.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Rises with each new token of an app (R2). 0 for a previous token, of which the broker does not say.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The token before it, while WeChat still honours it, 5 minutes at most as a rule. The library never chooses it (R13).
    pub fn previous(&self) -> Option<&Token> {
        self.previous.as_deref().filter(|previous| previous.until.is_none_or(|until| Instant::now() < until))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Token({})", self.id)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.id)
    }
}
