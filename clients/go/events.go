package lingpai

import (
	"log/slog"
	"sync"
	"time"
)

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

// teller tells events in their order, one at a time, and never under a lock of the client's: the user's function may use the client.
type teller struct {
	observe func(Event)
	logger  *slog.Logger

	mu        sync.Mutex
	waiting   []Event
	isTelling bool
}

// add has an event told by the next tell.
func (t *teller) add(event Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, event)
}

// tell tells what waits, unless another goroutine does.
func (t *teller) tell() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isTelling {
		return
	}
	t.isTelling = true
	for len(t.waiting) > 0 {
		event := t.waiting[0]
		t.waiting = t.waiting[1:]
		t.mu.Unlock()
		t.one(event)
		t.mu.Lock()
	}
	t.isTelling = false
}

// one tells one event, on a goroutine of its own: who observes may end it, as t.Fatal does.
func (t *teller) one(event Event) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if panicked := recover(); panicked != nil {
				t.logger.Error("OnEvent panicked", "panic", panicked)
			}
		}()
		t.observe(event)
	}()
	<-done
}
