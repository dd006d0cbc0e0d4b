package lingpai

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "lingpai.example/clients/go/internal/clientv1"
)

// attempt is one stream, from its connection to its end. It returns the pause before the next.
func (c *Client) attempt(ctx context.Context, end context.CancelCauseFunc, apps []string, pauses *backoff) time.Duration {
	defer end(nil)

	first, goaway, err := c.watch(ctx, end, apps)
	if c.ctx.Err() != nil {
		return 0
	}
	c.stale()
	lived := time.Duration(-1)
	if !first.IsZero() {
		lived = time.Since(first)
	}
	if goaway > 0 || errors.Is(err, errReopen) {
		pauses.ended(lived)
		return goaway
	}
	return c.lost(explain(err), pauses, lived)
}

// stale says that the stream is lost, before who observes is told of it and may look at Stats.
func (c *Client) stale() {
	c.mu.Lock()
	wasLive := c.state == "LIVE"
	if wasLive {
		c.state = "STALE"
	}
	c.mu.Unlock()
	if wasLive {
		c.options.logger.Info("the stream to the broker is lost, the tokens held are served")
	}
}

// watch reads one stream. first is when its first message came, goaway the pause that the broker asks for.
func (c *Client) watch(ctx context.Context, end context.CancelCauseFunc, apps []string) (first time.Time, goaway time.Duration, err error) {
	silence := c.options.timing.Silence
	// A connection may be open and dead, behind a middle box that forgot it: it is closed with the stream, and never used again.
	watchdog := time.AfterFunc(silence, func() {
		end(&RPCError{Code: "UNAVAILABLE", words: fmt.Sprintf("nothing came for %v", silence)})
	})
	defer watchdog.Stop()
	conn, ctx, err := c.dial(ctx)
	if err != nil {
		if errors.Is(context.Cause(ctx), errReopen) {
			err = errReopen // the key was not waited for: nothing is wrong with it
		}
		return first, 0, err
	}
	defer conn.Close()
	known := map[string]uint64{}
	for _, app := range apps {
		if token, err := c.sources[app].Token(); err == nil {
			known[app] = token.Generation
		}
	}
	next, err := openStream(ctx, conn, &pb.WatchTokenRequest{AppIds: apps, KnownGenerations: known})
	for err == nil {
		var message *pb.WatchTokenResponse
		if message, err = next(); err != nil {
			break
		}
		watchdog.Reset(silence)
		if first.IsZero() {
			first = time.Now()
			c.lives()
		}
		if goaway, err = c.take(message); goaway > 0 {
			return first, goaway, nil
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return first, 0, err
}

// lives says that a stream has brought its first message.
func (c *Client) lives() {
	c.mu.Lock()
	wasLost := c.state == "STALE"
	if c.state != "CLOSED" {
		c.state = "LIVE"
	}
	if wasLost {
		c.counts.Reconnects++
	}
	c.mu.Unlock()
	if wasLost {
		c.options.logger.Info("the stream to the broker is back")
		c.tell(Event{Type: "reconnect"})
	}
}

// take takes one event. It returns the pause that a goaway asks for, or an error of what the event says.
func (c *Client) take(message *pb.WatchTokenResponse) (goaway time.Duration, err error) {
	switch event := message.GetEvent().(type) {
	case *pb.WatchTokenResponse_State:
		if source := c.sources[event.State.GetAppId()]; source != nil {
			return 0, source.take(event.State, message.GetServerTime())
		}
	case *pb.WatchTokenResponse_Removed:
		if source := c.sources[event.Removed.GetAppId()]; source != nil {
			source.drop(Removed)
		}
	case *pb.WatchTokenResponse_Goaway:
		timing := c.options.timing
		after := max(timing.BackoffFloor, min(event.Goaway.GetReconnectAfter().AsDuration(), timing.GoawayCap), 1)
		c.mu.Lock()
		c.counts.Goaways++
		c.mu.Unlock()
		c.stale()
		c.tell(Event{Type: "goaway", After: after})
		return after, nil
	}
	return 0, nil
}

// lost is what follows from a stream's error. It returns the pause before the next.
func (c *Client) lost(failed *RPCError, pauses *backoff, lived time.Duration) time.Duration {
	isFatal := false
	switch failed.Code {
	case "NOT_FOUND", "INVALID_ARGUMENT", "UNAUTHENTICATED":
		isFatal = c.isStarting.Load()
		select {
		case c.failed <- failed:
		default:
		}
	}
	source := c.sources[failed.App]
	c.mu.Lock()
	c.last = failed
	// An app that was left out already was not asked for: leaving it out again would change nothing, and the next attempt come at once.
	isUnknownApp := failed.Code == "NOT_FOUND" && source != nil && !c.unknown[failed.App]
	if isUnknownApp {
		c.unknown[failed.App] = true
	}
	c.mu.Unlock()
	var pause time.Duration
	if !isUnknownApp {
		pause = pauses.after(failed, lived)
	}
	switch {
	case isFatal: // New returns it, and there is no next attempt
	case !isUnknownApp:
		if failed.NeedsOperator || pauses.failures == 3 || pauses.failures%10 == 0 {
			c.options.logger.Warn("the stream to the broker failed", "error", failed, "retry_in", pause)
		}
	default:
		c.options.logger.Warn("the broker does not know an app, or this caller may not read it: the others go on without it",
			"app", failed.App, "error", failed, "retry_in", c.options.timing.AppRetry)
	}
	c.tell(Event{Type: "error", During: "watch", Code: failed.Code, Reason: failed.Reason, Err: failed, After: pause})
	if isUnknownApp {
		source.drop(NotFound)
		c.spawn(func() { c.probe(source) })
	}
	return pause
}

// probe asks for an app that the broker does not know, until it does.
func (c *Client) probe(source *Source) {
	for {
		c.wait(c.options.timing.AppRetry)
		if c.ctx.Err() != nil {
			return
		}
		answer := &pb.GetResponse{}
		err := c.call("Get", &pb.GetRequest{AppId: source.app}, answer)
		if err == nil {
			err = source.take(answer.GetState(), answer.GetServerTime())
		}
		if err == nil {
			break
		}
		if explain(err).knows(source.app) {
			break // it has no token yet, which the stream tells
		}
		if failed := explain(err); failed.Code != "NOT_FOUND" && c.ctx.Err() == nil {
			c.tell(Event{
				Type: "error", During: "get", App: source.app, Code: failed.Code, Reason: failed.Reason, Err: failed,
				After: c.options.timing.AppRetry,
			})
		}
	}
	c.mu.Lock()
	delete(c.unknown, source.app)
	reopen := c.reopen
	c.mu.Unlock()
	if reopen != nil {
		reopen(errReopen)
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *Client) forceRefresh(app string, refused *Token) (*pb.ForceRefreshResponse, error) {
	c.mu.Lock()
	c.counts.Reports++
	c.mu.Unlock()
	request := &pb.ForceRefreshRequest{AppId: app, Rejected: &pb.ForceRefreshRequest_RejectedToken{RejectedToken: refused.Value}}
	if refused.Value == "" {
		request.Rejected = &pb.ForceRefreshRequest_RejectedGeneration{RejectedGeneration: refused.Generation}
	}
	answer := &pb.ForceRefreshResponse{}
	if err := c.call("ForceRefresh", request, answer); err != nil {
		if c.ctx.Err() != nil {
			return nil, ErrClosed
		}
		return nil, explain(err)
	}
	return answer, nil
}

func (c *Client) tell(event Event) {
	c.told.add(event)
	c.told.tell()
}
