// Package lingpai holds the newest WeChat access_token of each app in memory, as a Lingpai broker pushes it.
//
// A Client keeps one stream to the broker. A Source is one app's token: Token reads memory, Do makes a business call and mends a token that
// WeChat refuses. clients/SPEC.md in the broker's repository has the rules, R1 to R19, by which it reconnects and reports.
package lingpai

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
)

// closeWait is the longest that Close waits for goroutines.
const closeWait = 1500 * time.Millisecond

// Client is one stream to the broker, and the tokens that it brought. A process needs one. Its methods may be called from any goroutine.
type Client struct {
	options *options
	sources map[string]*Source
	// call makes one unary call of the broker.
	call    func(method string, request, answer proto.Message) error
	ctx     context.Context
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
	// changed has something when run is to look again at which apps are known.
	changed chan struct{}
	told    *teller
	// isStarting is true while New waits.
	isStarting atomic.Bool

	mu      sync.Mutex
	state   string
	counts  Stats
	unknown map[string]bool
	last    *RPCError
	// failed has the error that ends a start at once.
	failed chan *RPCError
	// reopen ends the stream, which is then opened anew at once.
	reopen context.CancelCauseFunc
}

var errReopen = errors.New("another app is known")

// New makes a client, and waits until a token of every app is held. target is the broker's gRPC port: HOST:PORT, http://HOST:PORT or
// https://HOST:PORT. The error is a ConfigurationError; an RPCError at once where the broker does not know an app or refuses the key; a
// StartTimeoutError where a token is still missing after StartTimeout, or when ctx ends, whose error it is too (rule R4). With StartOptional it waits for nothing. ctx
// bounds the start alone. A start that failed leaves nothing behind.
func New(ctx context.Context, target string, given ...Option) (*Client, error) {
	o, err := configure(target, given)
	if err != nil {
		return nil, err
	}
	c := newClient(o)
	c.isStarting.Store(!o.startOptional)
	c.spawn(c.run)
	if !o.startOptional {
		defer c.isStarting.Store(false)
		if err := c.start(ctx); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return c, nil
}

// newClient is a client that has not begun.
func newClient(o *options) *Client {
	c := &Client{
		options: o, sources: map[string]*Source{}, state: "CONNECTING", unknown: map[string]bool{},
		changed: make(chan struct{}, 1), failed: make(chan *RPCError, 1),
		told: &teller{observe: o.onEvent, logger: o.logger},
	}
	c.call = c.unary
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	for _, app := range o.apps {
		c.sources[app] = newSource(app, c)
	}
	return c
}

// App is an app's source. It panics for an app that the client was not made with.
func (c *Client) App(app string) *Source {
	source := c.sources[app]
	if source == nil {
		panic(fmt.Sprintf("lingpai: the client was made without %s: name it in Apps", app))
	}
	return source
}

// Stats says how the client is doing.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	stats := c.counts
	stats.State = c.state
	c.mu.Unlock()
	stats.Apps = map[string]AppStats{}
	for app, source := range c.sources {
		stats.Apps[app] = source.statsOf(source.held.Load())
	}
	return stats
}

// Close ends the stream, pauses, and calls under way; reads return ErrClosed from now on, and a Do in its report the call's own error. It may be
// called from anywhere, any number of times, takes at most 2 seconds, and leaves no goroutine, timer or socket (rule R15). In OnEvent
// it waits for OnEvent itself, 1.5 seconds for nothing: begin it there by go. The error is always nil.
func (c *Client) Close() error {
	c.mu.Lock()
	isFirst := c.state != "CLOSED"
	c.state = "CLOSED"
	c.mu.Unlock()
	c.cancel(ErrClosed)
	if isFirst {
		for _, source := range c.sources {
			source.close()
		}
		c.tell(Event{Type: "closed"})
	}
	done := make(chan struct{})
	go func() {
		c.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeWait):
	}
	return nil
}

func (c *Client) start(ctx context.Context) error {
	given := ctx
	ctx, cancel := context.WithTimeout(given, c.options.startTimeout)
	defer cancel()
	for _, app := range c.options.apps {
		held := make(chan error, 1)
		go func() {
			_, err := c.sources[app].Await(ctx, 0)
			held <- err
		}()
		select {
		case failed := <-c.failed:
			return failed
		case err := <-held:
			if err == nil {
				continue
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			timeout := &StartTimeoutError{ended: given.Err()}
			if c.last != nil {
				timeout.Last = c.last
			}
			var none *NoTokenError
			for _, app := range c.options.apps {
				_, err := c.sources[app].Token()
				if err != nil {
					timeout.Apps = append(timeout.Apps, app)
				}
				if timeout.Last == nil && errors.As(err, &none) && none.Reason != Waiting {
					timeout.Last = err // the broker answers, and has no token
				}
			}
			return timeout
		}
	}
	return nil
}

// spawn starts a goroutine that Close waits for; false once the client is closed.
func (c *Client) spawn(work func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == "CLOSED" {
		return false
	}
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		work()
	}()
	return true
}

func (c *Client) run() {
	pauses := &backoff{timing: c.options.timing, draw: rand.Float64}
	for c.ctx.Err() == nil {
		c.mu.Lock()
		apps := make([]string, 0, len(c.sources))
		for app := range c.sources {
			if !c.unknown[app] {
				apps = append(apps, app)
			}
		}
		if len(apps) > 0 {
			c.counts.Attempts++
		}
		// Under the lock that the apps were read under: an app that is known from now on ends this attempt.
		ctx, end := context.WithCancelCause(c.ctx)
		c.reopen = end
		c.mu.Unlock()
		if len(apps) == 0 {
			end(nil)
			select {
			case <-c.changed:
			case <-c.ctx.Done():
			}
			continue
		}
		c.wait(c.attempt(ctx, end, apps, pauses))
	}
}

// wait waits so long, or until the client is closed.
func (c *Client) wait(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
}
