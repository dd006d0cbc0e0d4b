package lingpai

import "time"

// backoff has the pauses between streams that fail: rules R5, R8 and R9 of clients/SPEC.md.
type backoff struct {
	timing Timing
	// draw gives a number from 0 to 1.
	draw func() float64
	// failures counts them in a row, slow and fast those of each lane: the pauses of one are not short again because of the other.
	failures, slow, fast int
}

// after is the pause after a failure. lived is for how long its stream did after its first message; negative: no message came.
func (b *backoff) after(err *RPCError, lived time.Duration) time.Duration {
	// A credential that expired while it was used is read anew: only where that one is refused too must someone mend it.
	isSlow := err.NeedsOperator && !(lived >= 0 && err.Reason == "CREDENTIALS_EXPIRED")
	b.ended(lived)
	b.failures++
	asked := min(err.RetryAfter, b.timing.RetryCap)
	if isSlow {
		b.slow++
		return b.spread(max(doubled(b.timing.Slow, b.slow-1, b.timing.SlowCap), asked))
	}
	b.fast++
	bound, floor := doubled(b.timing.BackoffBase, b.fast-1, b.timing.BackoffCap), b.timing.BackoffFloor
	pause := floor + time.Duration(b.draw()*float64(max(0, bound-floor)))
	if pause >= asked {
		return pause
	}
	return b.spread(asked)
}

// ended is told of a stream that ended: a good one makes the pauses short again.
func (b *backoff) ended(lived time.Duration) {
	if lived >= b.timing.Life {
		b.failures, b.slow, b.fast = 0, 0, 0
	}
}

// doubled is a pause that was doubled so many times, at most longest.
func doubled(pause time.Duration, times int, longest time.Duration) time.Duration {
	if times >= 30 || pause<<times <= 0 {
		return longest
	}
	return min(longest, pause<<times)
}

func (b *backoff) spread(pause time.Duration) time.Duration {
	return pause + time.Duration(b.draw()/5*float64(pause))
}
