package lingpai

import (
	"slices"
	"testing"
	"time"
)

const none = time.Duration(-1)

func pauses(b *backoff, err *RPCError, lived ...time.Duration) (ms []int64) {
	for _, each := range lived {
		ms = append(ms, b.after(err, each).Milliseconds())
	}
	return ms
}

func TestBackoffGrowsToTheCapAndIsSmallAgainAfterAGoodStream(t *testing.T) {
	b := &backoff{timing: defaultTiming, draw: func() float64 { return 1 }}
	lost := &RPCError{Code: "UNAVAILABLE"}
	young := time.Second
	got := pauses(b, lost, young, young, none, none, none, none, none, 10*time.Second)
	if want := []int64{500, 1000, 2000, 4000, 8000, 10_000, 10_000, 500}; !slices.Equal(got, want) {
		t.Errorf("pauses %v, want %v", got, want)
	}
	b.after(lost, none)
	b.ended(10 * time.Second)
	if got := b.after(lost, none); got != 500*time.Millisecond {
		t.Errorf("after a good stream that ended by a goaway: %v", got)
	}
}

func TestBackoffIsNeverShorterThanTheFloorOrRetryInfo(t *testing.T) {
	b := &backoff{timing: defaultTiming, draw: func() float64 { return 0 }}
	for asked, want := range map[time.Duration]time.Duration{
		0: 100 * time.Millisecond, 3 * time.Second: 3 * time.Second, time.Hour: 5 * time.Minute,
	} {
		if got := b.after(&RPCError{Code: "RESOURCE_EXHAUSTED", RetryAfter: asked}, none); got != want {
			t.Errorf("RetryInfo of %v: a pause of %v, want %v", asked, got, want)
		}
	}
}

func TestBackoffAddsUpToAFifthWhereRetryInfoDecides(t *testing.T) {
	b := &backoff{timing: defaultTiming, draw: func() float64 { return 1 }}
	for asked, want := range map[time.Duration]time.Duration{
		400 * time.Millisecond: 500 * time.Millisecond, 10 * time.Second: 12 * time.Second, time.Hour: 6 * time.Minute,
	} {
		b.ended(time.Minute)
		if got := b.after(&RPCError{Code: "UNAVAILABLE", RetryAfter: asked}, none); got != want {
			t.Errorf("RetryInfo of %v: a pause of %v, want %v", asked, got, want)
		}
	}
	if got := b.after(&RPCError{Code: "PERMISSION_DENIED", NeedsOperator: true, RetryAfter: time.Minute}, none); got != 72*time.Second {
		t.Errorf("RetryInfo in the slow lane: %v", got)
	}
}

func TestBackoffIsSlowForWhatSomebodyMustMend(t *testing.T) {
	b := &backoff{timing: defaultTiming, draw: func() float64 { return 0 }}
	refused := &RPCError{Code: "UNAUTHENTICATED", NeedsOperator: true}
	got := pauses(b, refused, none, none, none, none, none)
	if want := []int64{30_000, 60_000, 120_000, 240_000, 300_000}; !slices.Equal(got, want) {
		t.Errorf("pauses %v, want %v", got, want)
	}
	lost := &RPCError{Code: "UNAVAILABLE"}
	b.draw = func() float64 { return 1 }
	got = append(pauses(b, lost, none, none), pauses(b, refused, none)...)
	got = append(got, pauses(b, lost, none)...)
	if want := []int64{500, 1000, 360_000, 2000}; !slices.Equal(got, want) {
		t.Errorf("two kinds of failures in turn: pauses %v, want %v", got, want)
	}
	b.draw = func() float64 { return 0 }
	b.ended(10 * time.Second)
	if got := b.after(refused, none); got != 30*time.Second {
		t.Errorf("after a good stream: %v", got)
	}
	refused.Reason = "CREDENTIALS_EXPIRED"
	if got := b.after(refused, 0); got != 100*time.Millisecond {
		t.Errorf("a credential that expired in use: %v", got)
	}
}
