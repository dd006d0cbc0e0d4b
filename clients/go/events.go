package lingpai

import "time"

// Event is what OnEvent is told, never a token's value. Which fields are set depends on Type.
type Event struct {
	// Type is "state" (an app's state changed), "reconnect" (a stream brought its first message after one was lost), "goaway",
	// "report", "error" or "closed".
	Type string
	// App is set for "state" and "report".
	App string
	// State is "HELD" or "NONE", for "state".
	State string
	// Generation and TokenID are those of the token, for "state".
	Generation uint64
	TokenID    string
	// Reason is why there is no token, for "state"; the broker's ErrorReason, for "error".
	Reason string
	// Outcome is what a report came to.
	Outcome string
	// During is "watch", "get" or "report", for "error"; Code and Err say what failed.
	During string
	Code   string
	Err    error
	// After is the pause until the next attempt, for "goaway" and "error".
	After time.Duration
}

// Stats says how a client is doing.
type Stats struct {
	// State is "CONNECTING", "LIVE", "STALE" (the stream is lost; the tokens are served) or "CLOSED".
	State string
	// Attempts counts streams that were tried, Reconnects those that brought a message after one was lost.
	Attempts, Reconnects, Goaways, Reports uint64
	Apps                                   map[string]AppStats
}

// AppStats says how an app is doing.
type AppStats struct {
	// State is "WAITING", "HELD" or "NONE".
	State      string
	Generation uint64
	TokenID    string
	// Reason is why there is no token; empty while one is held.
	Reason string
}
