package lingpai

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	pb "lingpai.example/clients/go/internal/clientv1"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// Source is one app's token, always the newest that is known. Its methods may be called from any goroutine.
type Source struct {
	app    string
	client *Client
	held   atomic.Pointer[held]
	// updated has room for one.
	updated chan struct{}

	mu         sync.Mutex
	generation uint64
	expiry     *time.Timer
	// changed is closed and replaced at each change.
	changed chan struct{}
	// lentOut has the newest tokens, the newest last.
	lentOut []lent
	reports map[uint64]*report
	refused refusedReport
}

// held is what a read finds: a token, or the error that says why there is none.
type held struct {
	token *Token
	err   error
}

// report is a ForceRefresh under way.
type report struct {
	done    chan struct{}
	outcome string
	token   *Token
	err     error
}

// refusedReport is the last report that failed: it is not repeated before until.
type refusedReport struct {
	generation uint64
	until      time.Time
	err        error
}

func newSource(app string, client *Client) *Source {
	s := &Source{
		app: app, client: client,
		updated: make(chan struct{}, 1), changed: make(chan struct{}), reports: map[uint64]*report{},
	}
	s.held.Store(&held{err: &NoTokenError{App: app, Reason: Waiting}})
	return s
}

// Token is the newest token, from memory: one atomic load, which takes no lock, waits for nobody and allocates nothing (rule R1). The error is a
// NoTokenError, or ErrClosed.
func (s *Source) Token() (*Token, error) {
	held := s.held.Load()
	return held.token, held.err
}

// Updated has something to receive when there is another token than at the last receive: read it by Token. It is for one
// reader: of two, one receives. The client's Close closes it.
func (s *Source) Updated() <-chan struct{} { return s.updated }

// Await waits until a token of at least this generation is held; 0: any. The error is the context's, or ErrClosed.
func (s *Source) Await(ctx context.Context, generation uint64) (*Token, error) {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		token, err := s.Token()
		if err == nil && token.Generation >= generation {
			return token, nil
		}
		if errors.Is(err, ErrClosed) {
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Do makes a business call with the newest token's value. If it returns an error that is ErrRejected, the token is reported to the broker, and
// with a newer one the call is made once more. Where none came (WeChat accepts the token, or the broker cannot replace it now) its own
// error is returned. The call is made at most twice, and no pause is waited out (rule R12). Where there is no token, the error is a
// NoTokenError, or ErrClosed.
func (s *Source) Do(ctx context.Context, call func(ctx context.Context, token string) error) error {
	used, err := s.Token()
	if err != nil {
		return err
	}
	refusal := call(ctx, used.Value)
	if !errors.Is(refusal, ErrRejected) {
		return refusal
	}
	if newest := s.after(ctx, used); newest != nil {
		return call(ctx, newest.Value)
	}
	return refusal
}

// after is the token to use after WeChat refused one, which it reports; nil where there is no newer one.
func (s *Source) after(ctx context.Context, used *Token) *Token {
	if _, newest, err := s.Report(ctx, used); err == nil && newest.Generation > used.Generation {
		return newest
	}
	if newest, err := s.Token(); err == nil && newest.Generation > used.Generation {
		return newest // the stream brought it, whatever became of the report
	}
	return nil
}

// Report tells the broker that WeChat refused a token of this source, and returns the token to use now. The outcome is REFRESHED, JOINED,
// ALREADY_NEWER, STILL_VALID, UNKNOWN (a later broker has added it), or NEWER_HELD where the broker was not asked, since a newer token is held.
// Callers that report one generation share one report, which goes on when ctx ends (rule R11). refused needs a Value, or a Generation
// alone where the value is not at hand. The error is a ConfigurationError where it has neither; an RPCError where the broker cannot replace it
// now, COOLDOWN for one, which is the answer for as long as its RetryAfter says, at most 5 minutes: the token is kept; a
// NoTokenError where none came; the context's; or ErrClosed.
func (s *Source) Report(ctx context.Context, refused *Token) (outcome string, token *Token, err error) {
	if refused == nil || refused.Value == "" && refused.Generation == 0 {
		return "", nil, misconfigured("Report was given no token: give it the one that WeChat refused")
	}
	s.mu.Lock()
	if token, err := s.Token(); err == nil {
		if token.Value == refused.Value {
			refused = token
		} else if token.Generation > refused.Generation {
			s.mu.Unlock()
			return "NEWER_HELD", token, nil
		}
	}
	shared := s.reports[refused.Generation]
	if shared == nil {
		if before := s.refused; before.generation == refused.Generation && time.Now().Before(before.until) {
			s.mu.Unlock()
			return "", nil, before.err
		}
		shared = &report{done: make(chan struct{})}
		if !s.client.spawn(func() { s.forceRefresh(refused, shared) }) {
			s.mu.Unlock()
			return "", nil, ErrClosed
		}
		s.reports[refused.Generation] = shared
	}
	s.mu.Unlock()
	select {
	case <-shared.done:
		return shared.outcome, shared.token, shared.err
	case <-ctx.Done():
		return "", nil, ctx.Err()
	}
}

func (s *Source) forceRefresh(refused *Token, shared *report) {
	answer, err := s.client.forceRefresh(s.app, refused)
	if err == nil && answer.GetState() != nil {
		err = s.take(answer.GetState(), answer.GetServerTime())
	}
	if err == nil {
		shared.outcome = outcomeOf(answer.GetOutcome())
		shared.token, shared.err = s.Token()
	} else {
		shared.err = err
	}
	s.mu.Lock()
	delete(s.reports, refused.Generation)
	var failed *RPCError
	if errors.As(err, &failed) && failed.RetryAfter > 0 {
		until := time.Now().Add(min(failed.RetryAfter, s.client.options.timing.RetryCap))
		s.refused = refusedReport{refused.Generation, until, failed}
	}
	s.mu.Unlock()
	close(shared.done) // before anybody observes, who may report too
	if err == nil {
		s.client.tell(Event{Type: "report", App: s.app, Outcome: shared.outcome})
	}
	if failed != nil {
		s.client.tell(Event{Type: "error", During: "report", App: s.app, Code: failed.Code, Reason: failed.Reason, Err: failed})
	}
}

// take takes a state that the broker told, unless it is older than what is held. now is the broker's clock. The error is an RPCError: the
// state is another app's, or has no token that can be one, and nothing of it is taken.
func (s *Source) take(state *pb.TokenState, now *timestamppb.Timestamp) error {
	if state.GetAppId() != s.app {
		return &RPCError{Code: "INTERNAL", App: s.app, words: "the broker answered with the state of another app"}
	}
	defer s.client.told.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	if state.GetGeneration() < s.generation || errors.Is(s.held.Load().err, ErrClosed) {
		return nil
	}
	token, err := read(state, now)
	if err != nil {
		return err
	}
	s.generation = state.GetGeneration()
	s.stopExpiry()
	if token == nil {
		reason := Pending
		if state.GetStatus() == pb.TokenStatus_TOKEN_STATUS_EXPIRED {
			reason = Expired
		}
		s.set(&held{err: &NoTokenError{s.app, reason, state.GetStatusReason()}})
		return nil
	}
	s.hold(token, state.GetStatusReason())
	return nil
}

// hold holds a token until it or the one before it is over, whichever is first; then what is left of it. words are the broker's. The
// source is locked.
func (s *Source) hold(token *Token, words string) {
	if token.isOver() {
		s.set(&held{err: &NoTokenError{s.app, Expired, words}})
		return
	}
	end := token.ExpiresAt
	if previous := token.Previous; previous != nil {
		if previous.isOver() {
			alone := *token
			alone.Previous = nil
			token = &alone
		} else if !previous.ExpiresAt.IsZero() && (end.IsZero() || previous.ExpiresAt.Before(end)) {
			end = previous.ExpiresAt
		}
	}
	if !end.IsZero() {
		s.expiry = time.AfterFunc(time.Until(end), func() { s.expire(token) })
	}
	s.set(&held{token: token})
}

// read is the token of a state with the one before it, or nil.
func read(state *pb.TokenState, now *timestamppb.Timestamp) (*Token, error) {
	if state.GetCurrent() == nil {
		return nil, nil
	}
	token, err := tokenOf(state.GetCurrent(), state.GetAppId(), now)
	if err != nil {
		return nil, err
	}
	token.Generation = state.GetGeneration()
	if state.GetPrevious() != nil {
		token.Previous, err = tokenOf(state.GetPrevious(), state.GetAppId(), now)
	}
	return token, err
}

// expire looks again at a token of which something is over, if it is still held.
func (s *Source) expire(token *Token) {
	defer s.client.told.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held.Load().token == token {
		s.hold(token, "")
	}
}

// drop says that there is no token, for a reason that is not a state. Once the app was removed, any generation is taken.
func (s *Source) drop(reason string) {
	defer s.client.told.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.held.Load().err, ErrClosed) {
		return
	}
	if reason == Removed {
		s.generation = 0
	}
	s.stopExpiry()
	s.set(&held{err: &NoTokenError{App: s.app, Reason: reason}})
}

func (s *Source) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopExpiry()
	s.held.Store(&held{err: ErrClosed})
	close(s.changed)
	s.changed = make(chan struct{})
	close(s.updated)
}

func (s *Source) stopExpiry() {
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
}

// set replaces what is held, and tells of it where it is another.
func (s *Source) set(next *held) {
	before := s.statsOf(s.held.Load())
	s.held.Store(next)
	now := s.statsOf(next)
	if now == before {
		return
	}
	state := now.State
	if state != "HELD" {
		state = "NONE"
	}
	s.client.told.add(Event{Type: "state", App: s.app, State: state, Generation: now.Generation, TokenID: now.TokenID, Reason: now.Reason})
	close(s.changed)
	s.changed = make(chan struct{})
	if next.token != nil {
		s.lend(next.token)
		select {
		case s.updated <- struct{}{}:
		default:
		}
	}
}

func (s *Source) statsOf(held *held) AppStats {
	if held.token != nil {
		return AppStats{State: "HELD", Generation: held.token.Generation, TokenID: held.token.ID}
	}
	stats := AppStats{State: "NONE"}
	var none *NoTokenError
	if errors.As(held.err, &none) {
		stats.Reason = none.Reason
		if none.Reason == Waiting {
			stats.State = "WAITING"
		}
	}
	return stats
}
