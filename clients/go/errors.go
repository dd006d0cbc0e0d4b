package lingpai

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrClosed is what reads and calls of a closed client return.
var ErrClosed = errors.New("lingpai: the client is closed")

// ErrRejected is what a business call returns, wrapped or not, when WeChat refuses the access_token: errcode 40001, 40014 or 42001.
var ErrRejected = errors.New("lingpai: WeChat refused the access_token")

// RejectedError says by which errcode WeChat refused the access_token. It is an ErrRejected.
type RejectedError struct{ Errcode int }

func (e *RejectedError) Error() string { return fmt.Sprintf("%v: errcode %d", ErrRejected, e.Errcode) }

// Unwrap is ErrRejected.
func (e *RejectedError) Unwrap() error { return ErrRejected }

// Rejected is an error for an errcode of WeChat's that refuses the access_token (40001, 40014, 42001), and nil for any other.
func Rejected(errcode int) error {
	switch errcode {
	case 40001, 40014, 42001:
		return &RejectedError{errcode}
	}
	return nil
}

// The reasons for which there is no token. clients/SPEC.md says what each means.
const (
	Waiting  = "WAITING"
	Pending  = "PENDING"
	Expired  = "EXPIRED"
	Removed  = "REMOVED"
	NotFound = "NOT_FOUND"
)

// NoTokenError says why a read found no token.
type NoTokenError struct {
	App string
	// Reason is one of the constants above.
	Reason string
	// Words are the broker's own; empty where it has none.
	Words string
}

func (e *NoTokenError) Error() string {
	if e.Words == "" {
		return fmt.Sprintf("lingpai: no token of %s: %s", e.App, e.Reason)
	}
	return fmt.Sprintf("lingpai: no token of %s: %s, %s", e.App, e.Reason, e.Words)
}

// StartTimeoutError says that New did not get a token of every app in time.
type StartTimeoutError struct {
	// Apps have no token.
	Apps []string
	// Last is the last error, or nil. Unwrap gives it.
	Last error

	// ended is why the context that New was given ended, or nil: then StartTimeout was over.
	ended error
}

func (e *StartTimeoutError) Error() string {
	named := e.Apps[:min(len(e.Apps), 10)]
	words := "lingpai: no token of " + strings.Join(named, ", ")
	if more := len(e.Apps) - len(named); more > 0 {
		words += fmt.Sprintf(" and %d more", more)
	}
	words += " in time"
	if e.Last != nil {
		words += ": " + e.Last.Error()
	}
	return words
}

// Is says that it is context.Canceled or context.DeadlineExceeded too where New's context ended.
func (e *StartTimeoutError) Is(target error) bool {
	return e.ended != nil && errors.Is(e.ended, target)
}

// Unwrap is the last error.
func (e *StartTimeoutError) Unwrap() error { return e.Last }

// RPCError says how a call of the broker failed: it answered with an error, or it could not be reached.
type RPCError struct {
	// Code is the name of the gRPC code: UNAVAILABLE.
	Code string
	// Reason is the broker's ErrorReason, APP_NOT_FOUND for one; empty where the error is not the broker's own.
	Reason string
	// App is what the error is about, or empty.
	App string
	// RetryAfter is what RetryInfo asks for, or 0.
	RetryAfter time.Duration
	// NeedsOperator says that somebody must mend it: a key, a permission, an address, a certificate.
	NeedsOperator bool

	words string
}

func (e *RPCError) Error() string {
	words := e.words
	if e.App != "" && !strings.Contains(words, e.App) {
		words = strings.TrimSpace(words + " (" + e.App + ")")
	}
	parts := make([]string, 0, 4)
	for _, part := range []string{"lingpai", e.Code, e.Reason, words} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// knows says whether the broker knows the app and only has no token of it yet: its refresh failed, and that is a Get's answer (R10).
func (e *RPCError) knows(app string) bool {
	return e.App == app && e.Code != "NOT_FOUND" && !e.NeedsOperator
}

// ConfigurationError says which option is wrong, what is wrong with it, and what to write.
type ConfigurationError struct{ words string }

func (e *ConfigurationError) Error() string { return "lingpai: " + e.words }

func misconfigured(format string, args ...any) error {
	return &ConfigurationError{fmt.Sprintf(format, args...)}
}

// unreadable is a credential that cannot be read: somebody must mend it.
func unreadable(what string, err error) *RPCError {
	return &RPCError{Code: nameOf(codes.Unauthenticated), words: fmt.Sprintf("%s cannot be read: %v", what, err), NeedsOperator: true}
}

// explain reads the details of an error of gRPC's.
func explain(err error) *RPCError {
	var known *RPCError
	if errors.As(err, &known) {
		return known
	}
	st, _ := status.FromError(err)
	explained := &RPCError{Code: nameOf(st.Code()), words: plain(st.Message())}
	switch st.Code() {
	case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		explained.NeedsOperator = true
	}
	for _, detail := range st.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			explained.Reason = detail.GetReason()
			explained.App = detail.GetMetadata()["app_id"]
		case *errdetails.RetryInfo:
			explained.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	if st.Code() == codes.Unavailable && explained.Reason == "" {
		// TLS failed, by the words of crypto/tls. A handshake that was cut off is the network's trouble, not an operator's.
		explained.NeedsOperator = strings.Contains(st.Message(), "x509: ") || strings.Contains(st.Message(), "tls: ")
	}
	return explained
}

// plain is gRPC's message of a failed connection without what it wraps it in, and with what to do where the target is the mistake.
func plain(words string) string {
	if inner, isWrapped := strings.CutPrefix(words, `connection error: desc = "`); isWrapped {
		inner = strings.TrimPrefix(strings.TrimSuffix(inner, `"`), "transport: ")
		words = strings.TrimPrefix(inner, "Error while dialing: ")
	}
	switch {
	case strings.HasSuffix(words, "looked like an HTTP/1.1 header"):
		return "a server of HTTP/1.1 answers there: the target is the broker's gRPC port, 7600"
	case strings.HasSuffix(words, "tls: first record does not look like a TLS handshake"):
		return "a server without TLS answers there: write http:// before the target, or have the broker speak TLS (" + words + ")"
	}
	return words
}

// nameOf is a code's name as gRPC writes it: NOT_FOUND.
func nameOf(code codes.Code) string {
	var name strings.Builder
	for i, letter := range code.String() {
		if i > 0 && letter >= 'A' && letter <= 'Z' && code != codes.OK {
			name.WriteByte('_')
		}
		name.WriteRune(letter)
	}
	if code == codes.Canceled {
		return "CANCELLED"
	}
	return strings.ToUpper(name.String())
}
