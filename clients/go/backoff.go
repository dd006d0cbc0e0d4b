package lingpai

import "time"

// backoff has the pauses between streams that fail: rules R5, R8 and R9 of clients/SPEC.md.
type backoff struct {
	timing Timing
	// draw gives a number from 0 to 1.
	draw func() float64
	// failures counts them in a row, of one kind.
	failures int
	isSlow   bool
}

// after is the pause after a failure. lived is for how long its stream did after its first message; negative: no message came.
func (b *backoff) after(err *RPCError, lived time.Duration) time.Duration {
	// A credential that expired while it was used is read anew: only where that one is refused too must someone mend it.
	isSlow := err.NeedsOperator && !(lived >= 0 && err.Reason == "CREDENTIALS_EXPIRED")
	if isSlow != b.isSlow || lived >= b.timing.Life {
		b.failures = 0
	}
	b.isSlow = isSlow
	base, longest := b.timing.BackoffBase, b.timing.BackoffCap
	if isSlow {
		base, longest = b.timing.Slow, b.timing.SlowCap
	}
	bound := longest
	if b.failures < 30 {
		bound = min(longest, base<<b.failures)
	}
	if bound <= 0 {
		bound = longest
	}
	b.failures++
	asked := min(err.RetryAfter, b.timing.RetryCap)
	if isSlow {
		return b.spread(max(bound, asked))
	}
	floor := b.timing.BackoffFloor
	pause := floor + time.Duration(b.draw()*float64(max(0, bound-floor)))
	if pause >= asked {
		return pause
	}
	return b.spread(asked)
}

// ended is told of a stream that ended without a failure: a good one makes the pauses short again.
func (b *backoff) ended(lived time.Duration) {
	if lived >= b.timing.Life {
		b.failures = 0
	}
}

func (b *backoff) spread(pause time.Duration) time.Duration {
	return pause + time.Duration(b.draw()/5*float64(pause))
}
