// Package tokens keeps the newest WeChat access_token of one app, as a Lingpai broker pushes it.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	pb "lingpai.example/go/gen/lingpai/v1"
)

const (
	callTimeout = 10 * time.Second
	backoffBase = 500 * time.Millisecond
	backoffMax  = 10 * time.Second
)

// ErrRejected is what a business call returns, or wraps, when WeChat answers errcode 40001, 40014 or 42001.
var ErrRejected = errors.New("WeChat refused the access_token")

var errSilent = errors.New("nothing came for so long that the stream must be dead")

// Token is one access_token. Value is a secret; ID names the token in logs.
type Token struct {
	Value, ID  string
	Generation uint64
}

// String keeps the secret out of logs.
func (t Token) String() string { return t.ID }

// Source always holds the newest token of one app. It is safe for concurrent use.
type Source struct {
	Client  pb.TokenServiceClient
	AppID   string
	Silence time.Duration                             // how long a stream may say nothing: 2.5 times the broker's heartbeat
	Observe func(event string, fields map[string]any) // told of what happens, never of a token's value

	mu    sync.Mutex
	state *pb.TokenState
}

// Token returns the newest token, or an error that says why there is none.
func (s *Source) Token() (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if current := s.state.GetCurrent(); current != nil {
		return Token{current.Value, current.Id, s.state.Generation}, nil
	}
	return Token{}, fmt.Errorf("no token of %s: %s %s", s.AppID, name(s.state.GetStatus()), s.state.GetStatusReason())
}

// Load asks for the token once, so that a service starts with one in hand.
func (s *Source) Load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	response, err := s.Client.Get(ctx, &pb.GetRequest{AppId: s.AppID})
	if err == nil {
		s.keep("get", response.State)
	}
	return err
}

// Call makes a business call with the newest token. When WeChat refused that token, Call reports it to the broker and
// repeats the business call once with the token that came instead.
func (s *Source) Call(ctx context.Context, business func(ctx context.Context, token string) error) error {
	used, err := s.Token()
	if err != nil {
		return err
	}
	refusal := business(ctx, used.Value)
	if !errors.Is(refusal, ErrRejected) {
		return refusal
	}
	if err := s.report(ctx, used); err != nil {
		return errors.Join(refusal, err)
	}
	newer, err := s.Token()
	if err != nil {
		return err
	}
	if newer.Generation == used.Generation {
		return refusal // the token is good (STILL_VALID): the cause lies elsewhere, and repeating would not help
	}
	return business(ctx, newer.Value)
}

func (s *Source) report(ctx context.Context, refused Token) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	response, err := s.Client.ForceRefresh(ctx, &pb.ForceRefreshRequest{
		AppId:    s.AppID,
		Rejected: &pb.ForceRefreshRequest_RejectedToken{RejectedToken: refused.Value},
	})
	if err != nil {
		return err
	}
	s.Observe("force_refresh", map[string]any{"outcome": name(response.Outcome), "rejected_id": refused.ID})
	s.keep("state", response.State)
	return nil
}

// Run watches the app until ctx ends, reconnecting as often as it takes.
func (s *Source) Run(ctx context.Context) {
	reconnect, failures := false, 0
	for {
		opened, goaway, err := s.watch(ctx, reconnect)
		if ctx.Err() != nil {
			return
		}
		if opened {
			failures = 0
		}
		pause := goaway
		if err != nil {
			// Full jitter: many clients that lost one broker must not return together.
			pause = time.Duration(rand.Int64N(int64(min(backoffMax, backoffBase<<min(failures, 10)))))
			failures++
			failure := Explain(err)
			pause = max(pause, failure.RetryAfter)
			s.Observe("error", failure.fields("watch", pause))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		reconnect = true
	}
}

// watch reads one stream to its end: a goaway, with the pause that the broker asks for, or an error.
func (s *Source) watch(ctx context.Context, reconnect bool) (opened bool, goaway time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(s.Silence, func() { cancel(errSilent) })
	defer watchdog.Stop()

	known := s.known()
	stream, err := s.Client.WatchToken(ctx, &pb.WatchTokenRequest{AppIds: []string{s.AppID}, KnownGenerations: known})
	for err == nil {
		var message *pb.WatchTokenResponse
		if message, err = stream.Recv(); err != nil {
			break
		}
		watchdog.Reset(s.Silence)
		if !opened && reconnect {
			s.Observe("reconnect", map[string]any{"known_generation": known[s.AppID], "sent_state": message.GetState() != nil})
		}
		opened = true
		switch event := message.Event.(type) {
		case *pb.WatchTokenResponse_State:
			s.keep("state", event.State)
		case *pb.WatchTokenResponse_Removed:
			s.drop()
		case *pb.WatchTokenResponse_Goaway:
			pause := event.Goaway.ReconnectAfter.AsDuration()
			s.Observe("goaway", map[string]any{"reconnect_after_ms": pause.Milliseconds()})
			return opened, pause, nil
		}
	}
	if cause := context.Cause(ctx); cause == errSilent {
		err = cause
	}
	return opened, 0, err
}

// keep replaces what is held, but never by an older generation: answers may overtake one another.
func (s *Source) keep(event string, next *pb.TokenState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next.Generation < s.state.GetGeneration() {
		return
	}
	s.state = next
	s.Observe(event, map[string]any{
		"app": next.AppId, "generation": next.Generation, "token_id": next.Current.GetId(),
		"previous_id": next.Previous.GetId(), "status": name(next.Status), "status_reason": next.StatusReason,
	})
}

func (s *Source) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = nil
	s.Observe("removed", map[string]any{"app": s.AppID})
}

func (s *Source) known() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.GetCurrent() == nil {
		return nil
	}
	return map[string]uint64{s.AppID: s.state.Generation}
}
