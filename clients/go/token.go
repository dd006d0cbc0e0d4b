package lingpai

import (
	"fmt"
	"io"
	"log/slog"
)

// Token is one access_token. It does not change: when the broker has a newer one, the source has another Token. Whatever prints one,
// by any verb of fmt, by JSON or by slog, prints its ID.
type Token struct {
	// Value is the secret, at most 2,048 characters: send it as access_token, and never log it.
	Value string
	// ID is the first 12 hexadecimal digits of the value's SHA-256: the name of the token in logs.
	ID string
	// Generation rises with each new token of an app.
	Generation uint64
	// Previous is the token before it, while WeChat still honours it, or nil. The library never chooses it.
	Previous *Token
}

// String is the token's ID.
func (t Token) String() string { return t.ID }

// Format prints the token's ID, whatever the verb.
func (t Token) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, t.ID) }

// MarshalText gives the token's ID.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.ID), nil }

// LogValue gives the token's ID.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.ID) }
