package tokens

import (
	"math/rand/v2"
	"time"
)

const (
	pauseMin  = 100 * time.Millisecond
	goawayMax = time.Minute
	retryMax  = 5 * time.Minute // the longest that a RetryInfo is believed
)

// backoff says how long to wait between streams that fail.
type backoff struct {
	failures int // in a row, of one kind
	slow     bool
}

// after is the pause after a failure. It is drawn at random, so that many clients that lost one broker do not return
// together, and is never shorter than the broker asks. lived: the stream that failed was a good one.
func (b *backoff) after(failure Failure, lived bool) time.Duration {
	// A credential that expired while it was used is read anew: only where that one is refused too must someone mend it.
	renewed := lived && failure.Reason == "CREDENTIALS_EXPIRED"
	if slow := failure.NeedsOperator() && !renewed; slow != b.slow {
		*b = backoff{slow: slow}
	}
	base, longest := 500*time.Millisecond, 10*time.Second
	if b.slow {
		base, longest = 30*time.Second, 5*time.Minute
	}
	bound := min(longest, base<<min(b.failures, 10))
	b.failures++
	asked := min(failure.RetryAfter, retryMax)
	if b.slow {
		return spread(max(bound, asked))
	}
	if pause := pauseMin + rand.N(bound-pauseMin); pause > asked {
		return pause
	}
	return spread(asked)
}

// spread adds up to a fifth.
func spread(pause time.Duration) time.Duration { return pause + rand.N(pause/5) }
