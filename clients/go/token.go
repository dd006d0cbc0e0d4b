package lingpai

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"time"
	"unicode/utf8"

	pb "lingpai.example/clients/go/internal/clientv1"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// valueMax is the longest value that is taken, in characters.
const valueMax = 2048

// Token is one access_token. It does not change: when the broker has a newer one, the source has another Token. Whatever prints one,
// by any verb of fmt but %p and %T, by JSON, by XML or by slog, prints its ID (rule R18). fmt cannot ask an unexported field how it is
// printed: keep the pointer there, not a copy, and print what has it by %v, which shows an address.
type Token struct {
	// Value is the secret, 1 to 2,048 characters: send it as access_token, and never log it.
	Value string
	// ID is the first 12 hexadecimal digits of the value's SHA-256: the name of the token in logs.
	ID string
	// Generation rises with each new token of an app. It is 0 for a Previous, whose generation the broker does not say.
	Generation uint64
	// ExpiresAt is when its life is over, of a Previous its grace; zero where it does not expire. It counts by the monotonic clock, from the
	// message that brought it: time.Until(token.ExpiresAt) is what is left, however the wall clock is set (rule R3).
	ExpiresAt time.Time
	// Previous is the token before it, or nil. It was in its grace, in which WeChat still honours it, when Source.Token gave this one: read
	// it anew, since it is not taken out of a Token that you keep. The library never chooses it (rule R13).
	Previous *Token
}

// tokenOf reads a token of the broker's. now is the broker's clock; nil: the client's own. A value without characters or with too many is an error of the broker's.
func tokenOf(token *pb.Token, app string, now *timestamppb.Timestamp) (*Token, error) {
	if length := utf8.RuneCountInString(token.GetValue()); length < 1 || length > valueMax {
		return nil, &RPCError{Code: "INTERNAL", App: app, words: fmt.Sprintf("the broker sent a token of %d characters", length)}
	}
	read := &Token{Value: token.GetValue(), ID: idOf(token.GetValue())}
	if token.GetExpireTime() != nil {
		here := time.Now()
		clock := here
		if now != nil {
			clock = now.AsTime()
		}
		read.ExpiresAt = here.Add(token.GetExpireTime().AsTime().Sub(clock))
	}
	return read, nil
}

// isOver says whether its life, or its grace, is over.
func (t *Token) isOver() bool { return !t.ExpiresAt.IsZero() && time.Until(t.ExpiresAt) <= 0 }

// idOf is computed, not what the broker says: what is printed is never a value.
func idOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:6])
}

// String is the token's ID.
func (t Token) String() string { return t.ID }

// Format prints the token's ID, whatever the verb.
func (t Token) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, t.ID) }

// MarshalText gives the token's ID.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.ID), nil }

// LogValue gives the token's ID.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.ID) }
