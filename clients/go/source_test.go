//go:build go1.25

package lingpai

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "lingpai.example/clients/go/internal/clientv1"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// offline is a client that opens no stream, and whose calls answer answers.
func offline(t *testing.T, answer func(c *Client, method string, request, answer proto.Message) error, apps ...string) *Client {
	t.Helper()
	o, err := configure("127.0.0.1:7600", []Option{Apps(apps...)})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(o)
	c.call = func(method string, request, into proto.Message) error { return answer(c, method, request, into) }
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func unasked(_ *Client, method string, _, _ proto.Message) error {
	return fmt.Errorf("%s was called", method)
}

// state is a state of wx1 with a token VALUE<generation> that lives for so long; 0: it does not expire.
func state(generation uint64, life time.Duration) (*pb.TokenState, *timestamppb.Timestamp) {
	now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC) // not the client's clock
	current := &pb.Token{Value: fmt.Sprintf("VALUE%d", generation), Id: fmt.Sprintf("id%d", generation)}
	if life != 0 {
		current.ExpireTime = timestamppb.New(now.Add(life))
	}
	return &pb.TokenState{AppId: "wx1", Generation: generation, Status: pb.TokenStatus_TOKEN_STATUS_FRESH, Current: current}, timestamppb.New(now)
}

func mustTake(t *testing.T, s *Source, generation uint64, life time.Duration) {
	t.Helper()
	if err := s.take(state(generation, life)); err != nil {
		t.Fatal(err)
	}
}

// seen is what a read finds, in a word: the generation, or the reason.
func seen(s *Source) string {
	token, err := s.Token()
	var none *NoTokenError
	switch {
	case err == nil:
		return fmt.Sprint(token.Generation)
	case errors.As(err, &none):
		return none.Reason
	}
	return err.Error()
}

func TestR2OnlyAGenerationThatIsNotOlderIsTaken(t *testing.T) {
	s := offline(t, unasked, "wx1").App("wx1")
	const great = 1<<63 + 7
	for _, step := range []struct {
		generation uint64
		want       string
	}{{7, "7"}, {6, "7"}, {7, "7"}, {1<<53 + 1, "9007199254740993"}, {1 << 53, "9007199254740993"}, {great, fmt.Sprint(uint64(great))}, {8, fmt.Sprint(uint64(great))}} {
		mustTake(t, s, step.generation, 0)
		if got := seen(s); got != step.want {
			t.Errorf("after %d: %s, want %s", step.generation, got, step.want)
		}
	}
	older, now := state(great-1, 0)
	older.Current = nil
	if _ = s.take(older, now); seen(s) != fmt.Sprint(uint64(great)) {
		t.Errorf("an older state without a token: %s", seen(s))
	}
	equal, now := state(great, 0)
	equal.Current, equal.Status, equal.StatusReason = nil, pb.TokenStatus_TOKEN_STATUS_EXPIRED, "errcode -1"
	_ = s.take(equal, now)
	_, err := s.Token()
	var none *NoTokenError
	if !errors.As(err, &none) || none.Reason != Expired || none.Words != "errcode -1" {
		t.Errorf("the newest status of an equal generation: %v", err)
	}
	mustTake(t, s, 3, 0)
	if got := seen(s); got != Expired {
		t.Errorf("an older generation after EXPIRED: %s", got)
	}
	s.drop(Removed)
	mustTake(t, s, 3, 0)
	if got := seen(s); got != "3" {
		t.Errorf("any generation is taken after removed: %s", got)
	}
	s.drop(NotFound)
	mustTake(t, s, 2, 0)
	if got := seen(s); got != NotFound {
		t.Errorf("an app that is unknown for a while does not fall: %s", got)
	}
}

func TestR3ATokensLifeIsCountedFromTheMessageThatBroughtIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := offline(t, unasked, "wx1").App("wx1")
		mustTake(t, s, 1, 2*time.Second)
		token, _ := s.Token()
		if left := time.Until(token.ExpiresAt); left != 2*time.Second {
			t.Errorf("it says that %v are left", left)
		}
		time.Sleep(2*time.Second - 1)
		if got := seen(s); got != "1" {
			t.Errorf("within its life: %s", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := seen(s); got != Expired {
			t.Errorf("at its end: %s", got)
		}
		mustTake(t, s, 2, 2*time.Second)
		time.Sleep(time.Second)
		mustTake(t, s, 2, 2*time.Second) // the same, anew
		time.Sleep(1500 * time.Millisecond)
		if got := seen(s); got != "2" {
			t.Errorf("the life that the newer message gave: %s", got)
		}
		mustTake(t, s, 3, 0)
		time.Sleep(1000 * time.Hour)
		if token, err := s.Token(); err != nil || !token.ExpiresAt.IsZero() {
			t.Errorf("without expire_time it does not expire: %v", err)
		}
		withoutClock, _ := state(4, 0)
		withoutClock.Current.ExpireTime = timestamppb.New(time.Now().Add(3 * time.Second))
		_ = s.take(withoutClock, nil)
		if token, err := s.Token(); err != nil || time.Until(token.ExpiresAt) != 3*time.Second {
			t.Errorf("without server_time: %v, %v", token, err)
		}
		mustTake(t, s, 5, -time.Second)
		if got := seen(s); got != Expired {
			t.Errorf("a token whose life was over: %s", got)
		}
	})
}

func TestR13APreviousIsReadDuringItsGraceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := offline(t, unasked, "wx1").App("wx1")
		var told atomic.Int32
		s.client.told.observe = func(Event) { told.Add(1) }
		previous := func() string {
			t.Helper()
			synctest.Wait()
			token, err := s.Token()
			if err != nil {
				return seen(s)
			}
			if token.Previous == nil {
				return "none"
			}
			return token.Previous.Value
		}
		check := func(when, want string) {
			t.Helper()
			if got := previous(); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		for generation, life := range map[uint64]time.Duration{1: 0, 2: time.Hour} { // a token that does not expire, and one that does
			next, now := state(generation+s.generation, life)
			next.Previous = &pb.Token{Value: "BEFORE", ExpireTime: timestamppb.New(now.AsTime().Add(5 * time.Minute))}
			if err := s.take(next, now); err != nil {
				t.Fatal(err)
			}
			<-s.Updated()
			events := told.Load()
			time.Sleep(5*time.Minute - 1)
			check("within its grace", "BEFORE")
			time.Sleep(time.Nanosecond)
			check("at its end", "none")
			if told.Load() != events || len(s.Updated()) > 0 {
				t.Error("the token is the same, and somebody was told of another")
			}
			if life > 0 {
				time.Sleep(life - 5*time.Minute)
				check("at the end of the token", Expired)
			}
		}
		over, now := state(9, time.Hour)
		over.Previous = &pb.Token{Value: "BEFORE", ExpireTime: timestamppb.New(now.AsTime().Add(-1))}
		if err := s.take(over, now); err != nil {
			t.Fatal(err)
		}
		check("over when it came", "none")
	})
}

func TestATokenThatCannotBeOneIsAnErrorOfTheBroker(t *testing.T) {
	s := offline(t, unasked, "wx1").App("wx1")
	mustTake(t, s, 1, 0)
	for length, isTaken := range map[int]bool{0: false, 1: true, 2048: true, 2049: false} {
		for _, where := range []string{"current", "previous"} {
			next, now := state(s.generation+1, 0)
			value := slices.Repeat([]rune{'值'}, length) // characters, not bytes
			if where == "current" {
				next.Current.Value = string(value)
			} else {
				next.Previous = &pb.Token{Value: string(value)}
			}
			before := seen(s)
			err := s.take(next, now)
			var wrong *RPCError
			switch {
			case isTaken && (err != nil || seen(s) == before):
				t.Errorf("%s of %d characters: %v", where, length, err)
			case !isTaken && (!errors.As(err, &wrong) || wrong.Code != "INTERNAL" || wrong.App != "wx1" || seen(s) != before):
				t.Errorf("%s of %d characters: %v, and %s is held", where, length, err, seen(s))
			}
		}
	}
}

func TestTheStateOfAnotherAppIsAnErrorOfTheBroker(t *testing.T) {
	another := func(_ *Client, _ string, _, answer proto.Message) error {
		answer.(*pb.ForceRefreshResponse).Outcome = refreshed
		answer.(*pb.ForceRefreshResponse).State, answer.(*pb.ForceRefreshResponse).ServerTime = state(8, 0)
		answer.(*pb.ForceRefreshResponse).State.AppId = "wx2"
		return nil
	}
	s := offline(t, another, "wx1").App("wx1")
	mustTake(t, s, 7, 0)
	refused, _ := s.Token()
	_, _, err := s.Report(t.Context(), refused)
	var wrong *RPCError
	if !errors.As(err, &wrong) || wrong.Code != "INTERNAL" || wrong.App != "wx1" || seen(s) != "7" {
		t.Errorf("%v, and %s is held", err, seen(s))
	}
}

func TestTheIDIsTheValuesAndNotWhatTheBrokerSays(t *testing.T) {
	s := offline(t, unasked, "wx1").App("wx1")
	told, now := state(1, 0)
	told.Current.Id = told.Current.Value // a broker that mixes them up would have it printed
	told.Previous = &pb.Token{Value: "VALUE0", Id: "VALUE0"}
	if err := s.take(told, now); err != nil {
		t.Fatal(err)
	}
	token, _ := s.Token()
	if token.ID != "a19e1a35ea85" || token.Previous.ID != "36d41814ee10" {
		t.Errorf("%s after %s", token.ID, token.Previous.ID)
	}
}

func TestR10AnUnknownAppIsAskedForUntilItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Duration
		began := time.Now()
		answers := []error{&RPCError{Code: "NOT_FOUND"}, &RPCError{Code: "UNAVAILABLE"}, nil}
		c := offline(t, func(_ *Client, method string, request, answer proto.Message) error {
			if method != "Get" || request.(*pb.GetRequest).GetAppId() != "wx1" {
				t.Errorf("%s of %v", method, request)
			}
			asked = append(asked, time.Since(began))
			err := answers[len(asked)-1]
			if err == nil {
				answer.(*pb.GetResponse).State, answer.(*pb.GetResponse).ServerTime = state(5, 0)
			}
			return err
		}, "wx1", "wx2")
		var told []string
		c.told.observe = func(event Event) { told = append(told, event.Type+event.During+event.Code+event.Reason) }
		reopened := 0
		c.reopen = func(error) { reopened++ }
		unknown := &RPCError{Code: "NOT_FOUND", Reason: "APP_NOT_FOUND", App: "wx1"}
		if pause := c.lost(unknown, &backoff{timing: defaultTiming, draw: func() float64 { return 1 }}, none); pause != 0 {
			t.Errorf("the others wait %v for it", pause)
		}
		c.mu.Lock()
		isUnknown := c.unknown["wx1"]
		c.mu.Unlock()
		if seen(c.App("wx1")) != NotFound || seen(c.App("wx2")) != Waiting || !isUnknown {
			t.Errorf("wx1 is %s, wx2 %s", seen(c.App("wx1")), seen(c.App("wx2")))
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if want := []time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute}; !slices.Equal(asked, want) {
			t.Errorf("it asked after %v, want %v", asked, want)
		}
		if seen(c.App("wx1")) != "5" || reopened != 1 || c.unknown["wx1"] {
			t.Errorf("wx1 is %s, and the stream was opened anew %d times", seen(c.App("wx1")), reopened)
		}
		if want := []string{"errorwatchNOT_FOUNDAPP_NOT_FOUND", "stateNOT_FOUND", "errorgetUNAVAILABLE", "state"}; !slices.Equal(told, want) {
			t.Errorf("it told %q, want %q", told, want)
		}
	})
}

func TestR10AnAppThatTheStreamDidNotAskForIsAFailureLikeAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := offline(t, func(*Client, string, proto.Message, proto.Message) error {
			asked++
			return &RPCError{Code: "NOT_FOUND"}
		}, "wx1", "wx2")
		pauses := &backoff{timing: defaultTiming, draw: func() float64 { return 1 }}
		var waited []time.Duration
		for range 3 { // what is between them answers wx1 for any stream, also for that of wx2
			waited = append(waited, c.lost(&RPCError{Code: "NOT_FOUND", Reason: "APP_NOT_FOUND", App: "wx1"}, pauses, -1))
		}
		if want := []time.Duration{0, 500 * time.Millisecond, time.Second}; !slices.Equal(waited, want) {
			t.Errorf("it waited %v, want %v", waited, want)
		}
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if asked != 1 {
			t.Errorf("%d asked for the app at once", asked)
		}
	})
}

// brings answers a report by an outcome and the state of a generation; 0: none.
func brings(outcome pb.ForceRefreshOutcome, generation uint64) func(*Client, string, proto.Message, proto.Message) error {
	return func(_ *Client, _ string, _, answer proto.Message) error {
		response := answer.(*pb.ForceRefreshResponse)
		response.Outcome = outcome
		if generation > 0 {
			response.State, response.ServerTime = state(generation, 0)
		}
		return nil
	}
}

const (
	refreshed  = pb.ForceRefreshOutcome_FORCE_REFRESH_OUTCOME_REFRESHED
	stillValid = pb.ForceRefreshOutcome_FORCE_REFRESH_OUTCOME_STILL_VALID
)

func TestR10AnAppThatIsKnownAndHasNoTokenYetIsWatchedAgain(t *testing.T) {
	for failed, isKnown := range map[*RPCError]bool{
		{Code: "UNAVAILABLE", Reason: "PENDING", App: "wx1"}:         true,
		{Code: "UNAVAILABLE"}:                                        false,
		{Code: "UNAVAILABLE", App: "wx2"}:                            false,
		{Code: "NOT_FOUND", App: "wx1"}:                              false,
		{Code: "PERMISSION_DENIED", App: "wx1", NeedsOperator: true}: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			c := offline(t, func(*Client, string, proto.Message, proto.Message) error { return failed }, "wx1")
			c.unknown["wx1"] = true
			c.spawn(func() { c.probe(c.App("wx1")) })
			time.Sleep(90 * time.Second)
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.unknown["wx1"] == isKnown {
				t.Errorf("after %v it is known: %v", failed, !c.unknown["wx1"])
			}
		})
	}
}

func TestR6AKeyFunctionIsNotWaitedForLongerThanACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		o, err := configure("127.0.0.1:7600", []Option{Apps("wx1"), KeyFunc(func(context.Context) (string, error) {
			<-stuck
			return "key", nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(o)
		began := time.Now()
		if err := c.unary("Get", &pb.GetRequest{}, &pb.GetResponse{}); err == nil || time.Since(began) != 10*time.Second {
			t.Errorf("it ended after %v: %v", time.Since(began), err)
		}
		close(stuck)
	})
}

func TestR10AnAppThatHealsWhileTheKeyIsAskedForIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, err := configure("127.0.0.1:7600", []Option{Apps("wx1", "wx2"), KeyFunc(func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})})
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(o)
		var told []string
		c.told.observe = func(event Event) { told = append(told, event.Type) }
		ctx, end := context.WithCancelCause(c.ctx)
		time.AfterFunc(time.Second, func() { end(errReopen) })
		if pause := c.attempt(ctx, end, []string{"wx1"}, &backoff{timing: defaultTiming, draw: func() float64 { return 1 }}); pause != 0 || len(told) > 0 {
			t.Errorf("a pause of %v, and it told %q", pause, told)
		}
	})
}

func TestR11OneReportIsInFlightForAGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		answer := make(chan struct{})
		c := offline(t, func(c *Client, method string, request, response proto.Message) error {
			asked.Add(1)
			if got := request.(*pb.ForceRefreshRequest).GetRejectedToken(); got != "VALUE7" {
				t.Errorf("it named %q", got)
			}
			<-answer
			return brings(refreshed, 8)(c, method, request, response)
		}, "wx1")
		s := c.App("wx1")
		mustTake(t, s, 7, 0)
		refused, _ := s.Token()
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				if outcome, token, err := s.Report(t.Context(), refused); outcome != "REFRESHED" || err != nil || token.Generation != 8 {
					t.Errorf("%s, %v, %v", outcome, token, err)
				}
			})
		}
		hasty, cancel := context.WithCancel(t.Context())
		callers.Go(func() {
			if _, _, err := s.Report(hasty, refused); !errors.Is(err, context.Canceled) {
				t.Errorf("who does not wait: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(answer)
		callers.Wait()
		if outcome, token, err := s.Report(t.Context(), refused); outcome != "NEWER_HELD" || err != nil || token.Generation != 8 {
			t.Errorf("afterwards: %s, %v, %v", outcome, token, err)
		}
		if asked.Load() != 1 {
			t.Errorf("%d reports", asked.Load())
		}
	})
}

func TestR11ARefusedReportIsNotRepeatedBeforeRetryInfo(t *testing.T) {
	for asks, waits := range map[time.Duration]time.Duration{57 * time.Second: 57 * time.Second, time.Hour: 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			cooldown := &RPCError{Code: "RESOURCE_EXHAUSTED", Reason: "COOLDOWN", RetryAfter: asks}
			c := offline(t, func(*Client, string, proto.Message, proto.Message) error { asked++; return cooldown }, "wx1")
			s := c.App("wx1")
			mustTake(t, s, 7, 0)
			refused, _ := s.Token()
			report := func(token *Token, want int) {
				t.Helper()
				if _, _, err := s.Report(t.Context(), token); !errors.Is(err, cooldown) || asked != want {
					t.Errorf("%v, and it asked %d times, want %d", err, asked, want)
				}
			}
			report(refused, 1)
			time.Sleep(waits - 1)
			report(refused, 1)
			mustTake(t, s, 8, 0)
			newer, _ := s.Token()
			report(newer, 2) // another generation
			time.Sleep(waits)
			report(newer, 3)
		})
	}
}

func TestR11HowARefusedTokenIsNamed(t *testing.T) {
	var named []string
	c := offline(t, func(c *Client, method string, request, answer proto.Message) error {
		report := request.(*pb.ForceRefreshRequest)
		named = append(named, fmt.Sprintf("%s %d", report.GetRejectedToken(), report.GetRejectedGeneration()))
		return brings(stillValid, 0)(c, method, request, answer)
	}, "wx1")
	s := c.App("wx1")
	mustTake(t, s, 7, 0)
	for _, refused := range []*Token{{Generation: 7}, {Value: "VALUE7"}, {Value: "VALUE9", Generation: 9}} {
		if outcome, token, err := s.Report(t.Context(), refused); outcome != "STILL_VALID" || err != nil || token.Generation != 7 {
			t.Errorf("%#v: %s, %v, %v", refused, outcome, token, err)
		}
	}
	if want := []string{" 7", "VALUE7 0", "VALUE9 0"}; !slices.Equal(named, want) {
		t.Errorf("it named %q, want %q", named, want)
	}
	if outcome, token, err := s.Report(t.Context(), &Token{Value: "OLDER"}); outcome != "NEWER_HELD" || err != nil || token.Generation != 7 {
		t.Errorf("a value that is not held: %s, %v, %v", outcome, token, err)
	}
	var wrong *ConfigurationError
	for _, refused := range []*Token{nil, {}, {ID: "id7"}} {
		if _, _, err := s.Report(t.Context(), refused); !errors.As(err, &wrong) {
			t.Errorf("%#v: %v", refused, err)
		}
	}
	if len(named) != 3 {
		t.Errorf("it asked for %q", named)
	}
}

func TestR12ACallIsMadeOnceMoreWithANewerTokenOnly(t *testing.T) {
	failure := errors.New("errcode 45009")
	refusal := fmt.Errorf("sending: %w", Rejected(42001))
	fails := func(*Client, string, proto.Message, proto.Message) error { return &RPCError{Code: "UNAVAILABLE"} }
	const joined, newer = pb.ForceRefreshOutcome_FORCE_REFRESH_OUTCOME_JOINED, pb.ForceRefreshOutcome_FORCE_REFRESH_OUTCOME_ALREADY_NEWER
	for name, test := range map[string]struct {
		answer  func(*Client, string, proto.Message, proto.Message) error
		results []error
		want    error
		used    []string
	}{
		"it succeeds":                  {unasked, []error{nil}, nil, []string{"VALUE7"}},
		"it fails by another errcode":  {unasked, []error{failure}, failure, []string{"VALUE7"}},
		"REFRESHED":                    {brings(refreshed, 8), []error{refusal, nil}, nil, []string{"VALUE7", "VALUE8"}},
		"JOINED":                       {brings(joined, 8), []error{refusal, nil}, nil, []string{"VALUE7", "VALUE8"}},
		"ALREADY_NEWER":                {brings(newer, 9), []error{refusal, nil}, nil, []string{"VALUE7", "VALUE9"}},
		"REFRESHED, and refused again": {brings(refreshed, 8), []error{refusal, Rejected(40001)}, Rejected(40001), []string{"VALUE7", "VALUE8"}},
		"REFRESHED, and it fails then": {brings(refreshed, 8), []error{refusal, failure}, failure, []string{"VALUE7", "VALUE8"}},
		"ALREADY_NEWER, but it is not": {brings(newer, 7), []error{refusal}, refusal, []string{"VALUE7"}},
		"REFRESHED without a state":    {brings(refreshed, 0), []error{refusal}, refusal, []string{"VALUE7"}},
		"STILL_VALID":                  {brings(stillValid, 7), []error{refusal}, refusal, []string{"VALUE7"}},
		"an error":                     {fails, []error{refusal}, refusal, []string{"VALUE7"}},
		"an error, but the stream brought": {func(c *Client, _ string, _, _ proto.Message) error {
			_ = c.App("wx1").take(state(8, 0))
			return &RPCError{Code: "UNAVAILABLE"}
		}, []error{refusal, nil}, nil, []string{"VALUE7", "VALUE8"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := offline(t, test.answer, "wx1").App("wx1")
			mustTake(t, s, 7, 0)
			var used []string
			err := s.Do(t.Context(), func(_ context.Context, token string) error {
				used = append(used, token)
				return test.results[min(len(used), len(test.results))-1]
			})
			same := err == test.want || errors.Is(err, ErrRejected) && err.Error() == test.want.Error()
			if !same || !slices.Equal(used, test.used) {
				t.Errorf("%v with %q, want %v with %q", err, used, test.want, test.used)
			}
		})
	}
	if err := offline(t, unasked, "wx1").App("wx1").Do(t.Context(), func(context.Context, string) error { return nil }); err == nil {
		t.Error("a call without a token")
	}
}

func TestR15CloseEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := offline(t, func(c *Client, _ string, _, _ proto.Message) error { <-c.ctx.Done(); return c.ctx.Err() }, "wx1")
		s := c.App("wx1")
		mustTake(t, s, 7, time.Hour)
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := s.Await(t.Context(), 8); !errors.Is(err, ErrClosed) {
				t.Errorf("a waiter: %v", err)
			}
		})
		waiting.Go(func() {
			refusal := Rejected(40001)
			if err := s.Do(t.Context(), func(context.Context, string) error { return refusal }); err != refusal {
				t.Errorf("a call in its report: %v", err)
			}
		})
		waiting.Go(func() { c.wait(time.Hour) })
		waiting.Go(func() {
			updates := 0
			for range s.Updated() {
				updates++
			}
			if updates != 1 {
				t.Errorf("%d updates", updates)
			}
		})
		synctest.Wait()
		began := time.Now()
		for range 2 {
			waiting.Go(func() { _ = c.Close() })
		}
		waiting.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		if _, err := s.Token(); err != ErrClosed {
			t.Errorf("a read: %v", err)
		}
		if _, _, err := s.Report(t.Context(), &Token{Value: "VALUE7"}); err != ErrClosed {
			t.Errorf("a report: %v", err)
		}
		mustTake(t, s, 9, 0)
		s.drop(Removed)
		if _, err := s.Token(); err != ErrClosed || c.Stats().State != "CLOSED" {
			t.Errorf("a read after what came late: %v", err)
		}
	})
}

func TestR4AStartWithoutATokenSaysWhatTheBrokerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := offline(t, unasked, "wx1", "wx2")
		mustTake(t, c.App("wx1"), 1, 0)
		_ = c.App("wx2").take(&pb.TokenState{AppId: "wx2", Status: pb.TokenStatus_TOKEN_STATUS_PENDING, StatusReason: "errcode 40013"}, nil)
		err := c.start(t.Context())
		if want := "lingpai: no token of wx2 in time: lingpai: no token of wx2: PENDING, errcode 40013"; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	})
}
