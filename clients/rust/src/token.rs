use std::fmt;
use std::sync::Arc;

/// One access_token. It does not change: when the broker has a newer one, the source has another `Token`. `Debug` and `Display` show its id.
pub struct Token {
    pub(crate) value: String,
    pub(crate) id: String,
    pub(crate) generation: u64,
    pub(crate) previous: Option<Arc<Token>>,
}

impl Token {
    /// The secret, at most 2,048 characters: send it as `access_token`, and never log it.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The first 12 hexadecimal digits of the value's SHA-256: the name of the token in logs.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Rises with each new token of an app.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The token before it, while WeChat still honours it. The library never chooses it.
    pub fn previous(&self) -> Option<&Token> {
        self.previous.as_deref()
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
