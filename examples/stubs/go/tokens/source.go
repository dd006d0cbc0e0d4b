// Package tokens keeps the newest WeChat access_token of one app, as a Lingpai broker pushes it.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc"

	pb "lingpai.example/go/gen/lingpai/v1"
)

const callTimeout = 10 * time.Second

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
	Dial    func() (*grpc.ClientConn, error) // a new connection to the broker
	AppID   string
	Silence time.Duration                             // how long a stream may say nothing: 2.5 times the broker's heartbeat
	Observe func(event string, fields map[string]any) // told of what happens, never of a token's value

	mu      sync.Mutex
	state   *pb.TokenState
	refused refused
	reports singleflight.Group
}

// refused is the last report that the broker refused: it may be repeated after `until`.
type refused struct {
	generation uint64
	until      time.Time
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
	client, hangUp, err := s.connect()
	if err != nil {
		return err
	}
	defer hangUp()
	response, err := client.Get(ctx, &pb.GetRequest{AppId: s.AppID})
	if err == nil {
		s.keep("get", response.State)
	}
	return err
}

// Call makes a business call with the newest token. When WeChat refused that token, Call reports it to the broker and
// repeats the business call once with the token that came instead. When none came, the refusal is the answer: the
// token is good (STILL_VALID) and the cause lies elsewhere, or the broker cannot replace it now.
func (s *Source) Call(ctx context.Context, business func(ctx context.Context, token string) error) error {
	used, err := s.Token()
	if err != nil {
		return err
	}
	refusal := business(ctx, used.Value)
	if !errors.Is(refusal, ErrRejected) || !s.report(ctx, used) {
		return refusal
	}
	newer, err := s.Token()
	if err != nil || newer.Generation <= used.Generation {
		return refusal
	}
	return business(ctx, newer.Value)
}

// report tells the broker that WeChat refused a token, and returns whether there is another to use instead. All
// callers with one token share one report.
func (s *Source) report(ctx context.Context, used Token) bool {
	flight := s.reports.DoChan(strconv.FormatUint(used.Generation, 10), func() (any, error) {
		return s.forceRefresh(used), nil
	})
	select {
	case result := <-flight:
		return result.Val == true
	case <-ctx.Done():
		return false
	}
}

func (s *Source) forceRefresh(used Token) bool {
	if held, err := s.Token(); err == nil && held.Generation > used.Generation {
		return true // it came while the call was under way
	}
	if s.mustWait(used) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	client, hangUp, err := s.connect()
	if err != nil {
		return false
	}
	defer hangUp()
	response, err := client.ForceRefresh(ctx, &pb.ForceRefreshRequest{
		AppId:    s.AppID,
		Rejected: &pb.ForceRefreshRequest_RejectedToken{RejectedToken: used.Value},
	})
	if err != nil {
		// COOLDOWN, for instance: the token is kept, and reported again no sooner than the broker says.
		failure := Explain(err)
		s.Observe("error", failure.Fields("force_refresh"))
		s.wait(used, min(failure.RetryAfter, retryMax))
		return false
	}
	s.Observe("force_refresh", map[string]any{"outcome": name(response.Outcome), "rejected_id": used.ID})
	s.keep("state", response.State)
	return response.Outcome != pb.ForceRefreshOutcome_FORCE_REFRESH_OUTCOME_STILL_VALID
}

// Run watches the app until ctx ends, reconnecting as often as it takes.
func (s *Source) Run(ctx context.Context) {
	var pauses backoff
	for reconnect := false; ; reconnect = true {
		opened, goaway, err := s.watch(ctx, reconnect)
		if ctx.Err() != nil {
			return
		}
		lived := !opened.IsZero() && time.Since(opened) >= s.Silence*2/5 // for a heartbeat: 10 s of 25
		if lived {
			pauses.failures = 0
		}
		pause := goaway
		if err != nil {
			failure := Explain(err)
			pause = pauses.after(failure, lived)
			fields := failure.fields("watch", pause)
			fields["failures"] = pauses.failures
			s.Observe("error", fields)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// watch reads one stream to its end: a goaway, with the pause that the broker asks for, or an error. `opened` is when
// the first message came.
func (s *Source) watch(ctx context.Context, reconnect bool) (opened time.Time, goaway time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	client, hangUp, err := s.connect()
	if err != nil {
		return opened, 0, err
	}
	defer hangUp()
	watchdog := time.AfterFunc(s.Silence, func() { cancel(errSilent) })
	defer watchdog.Stop()

	known := s.known()
	stream, err := client.WatchToken(ctx, &pb.WatchTokenRequest{AppIds: []string{s.AppID}, KnownGenerations: known})
	for err == nil {
		var message *pb.WatchTokenResponse
		if message, err = stream.Recv(); err != nil {
			break
		}
		watchdog.Reset(s.Silence)
		if opened.IsZero() {
			opened = time.Now()
			if reconnect {
				s.Observe("reconnect", map[string]any{"known_generation": known[s.AppID], "sent_state": message.GetState() != nil})
			}
		}
		switch event := message.Event.(type) {
		case *pb.WatchTokenResponse_State:
			s.keep("state", event.State)
		case *pb.WatchTokenResponse_Removed:
			s.drop()
		case *pb.WatchTokenResponse_Goaway:
			pause := max(pauseMin, min(event.Goaway.ReconnectAfter.AsDuration(), goawayMax))
			s.Observe("goaway", map[string]any{"reconnect_after_ms": pause.Milliseconds()})
			return opened, pause, nil
		}
	}
	if cause := context.Cause(ctx); cause == errSilent {
		err = cause
	}
	return opened, 0, err
}

// connect dials for one stream or call, which hangs up when it is over. Each has a connection of its own: one that is
// open and passes nothing any more, as behind a middle box that forgot it, is then never used again.
func (s *Source) connect() (client pb.TokenServiceClient, hangUp func() error, err error) {
	conn, err := s.Dial()
	if err != nil {
		return nil, nil, err
	}
	return pb.NewTokenServiceClient(conn), conn.Close, nil
}

// keep replaces what is held, also by the same generation, whose status may be another now, but never by an older
// one: answers may overtake one another.
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

func (s *Source) wait(used Token, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = refused{used.Generation, time.Now().Add(pause)}
}

func (s *Source) mustWait(used Token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused.generation == used.Generation && time.Now().Before(s.refused.until)
}
