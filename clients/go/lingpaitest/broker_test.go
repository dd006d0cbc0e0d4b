package lingpaitest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	lingpai "lingpai.example/clients/go"
	"lingpai.example/clients/go/lingpaitest"
)

// connect is a client of a broker with what its callback is told.
func connect(t *testing.T, broker *lingpaitest.Broker, options ...lingpai.Option) (*lingpai.Client, <-chan lingpai.Event) {
	t.Helper()
	events := make(chan lingpai.Event, 100)
	options = append([]lingpai.Option{
		lingpai.OnEvent(func(event lingpai.Event) { events <- event }),
		lingpai.WithTiming(lingpai.Timing{BackoffBase: time.Millisecond, BackoffFloor: time.Millisecond, AppRetry: time.Millisecond}),
	}, options...)
	client, err := lingpai.New(t.Context(), broker.Target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client, events
}

// until reads events until one is of a type, and one of a state's reason where it is given.
func until(t *testing.T, events <-chan lingpai.Event, kind string) lingpai.Event {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case event := <-events:
			if event.Type == kind {
				return event
			}
		case <-late:
			t.Fatalf("nothing was told of %s", kind)
		}
	}
}

func await(t *testing.T, source *lingpai.Source, generation uint64) *lingpai.Token {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	token, err := source.Await(ctx, generation)
	if err != nil {
		t.Fatalf("generation %d: %v", generation, err)
	}
	return token
}

func TestARotationReachesTheClient(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1", "wx2")
	defer broker.Stop()
	client, _ := connect(t, broker, lingpai.Apps("wx1", "wx2"))
	first := await(t, client.App("wx1"), 1)
	value := broker.Rotate("wx1")
	second := await(t, client.App("wx1"), 2)
	if second.Value != value || second.Previous == nil || second.Previous.Value != first.Value || second.Previous.Generation != 0 {
		t.Errorf("it holds %v after %v, of which the generation is %d", second, second.Previous, second.Previous.Generation)
	}
	if !broker.Honours("wx1", first.Value) || !broker.Honours("wx1", value) {
		t.Error("the newest and the one before it are honoured")
	}
	broker.Rotate("wx1")
	if broker.Honours("wx1", first.Value) {
		t.Error("the one before the previous is not honoured")
	}
	if token := await(t, client.App("wx2"), 1); token.Generation != 1 {
		t.Errorf("the other app is at %d", token.Generation)
	}
}

func TestAStoppedBrokerComesBack(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1")
	defer broker.Stop()
	client, events := connect(t, broker, lingpai.Apps("wx1"))
	broker.Stop()
	until(t, events, "error")
	if _, err := client.App("wx1").Token(); err != nil {
		t.Errorf("the token is served meanwhile: %v", err)
	}
	broker.Rotate("wx1")
	broker.Start()
	until(t, events, "reconnect")
	await(t, client.App("wx1"), 2)
}

func TestABrokerWaitsForItsPort(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1")
	defer broker.Stop()
	broker.Stop()
	taken, err := net.Listen("tcp", strings.TrimPrefix(broker.Target, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = taken.Close() })
	broker.Start()
	connect(t, broker, lingpai.Apps("wx1"))
}

func TestADrainIsAGoaway(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1")
	defer broker.Stop()
	client, events := connect(t, broker, lingpai.Apps("wx1"))
	broker.Drain(3 * time.Millisecond)
	if after := until(t, events, "goaway").After; after != 3*time.Millisecond {
		t.Errorf("a pause of %v", after)
	}
	until(t, events, "reconnect")
	if stats := client.Stats(); stats.Goaways != 1 || stats.State != "LIVE" {
		t.Errorf("%+v", stats)
	}
	broker.Rotate("wx1")
	await(t, client.App("wx1"), 2)
}

func TestAnObserverIsToldOfAStreamThatIsStale(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1")
	defer broker.Stop()
	own := make(chan *lingpai.Client, 1)
	states := make(chan string, 100)
	client, _ := connect(t, broker, lingpai.Apps("wx1"), lingpai.OnEvent(func(event lingpai.Event) {
		if event.Type == "goaway" {
			states <- (<-own).Stats().State
		}
	}))
	own <- client
	broker.Drain(3 * time.Millisecond)
	if state := <-states; state != "STALE" {
		t.Errorf("it was %s while the observer was told", state)
	}
}

func TestAnObserverMayReport(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1")
	defer broker.Stop()
	own := make(chan *lingpai.Source, 1)
	outcomes := make(chan string, 100)
	client, _ := connect(t, broker, lingpai.Apps("wx1"), lingpai.OnEvent(func(event lingpai.Event) {
		if event.Type == "report" || event.During == "report" {
			select {
			case source := <-own:
				outcome, _, err := source.Report(context.Background(), await(t, source, 1))
				outcomes <- fmt.Sprint(outcome, err)
			default:
			}
		}
	}))
	source := client.App("wx1")
	own <- source
	if outcome, _, err := source.Report(t.Context(), await(t, source, 1)); outcome != "STILL_VALID" || err != nil {
		t.Errorf("%s %v", outcome, err)
	}
	if told := <-outcomes; told != "STILL_VALID<nil>" {
		t.Errorf("the observer got %s", told)
	}
	broker.Refuse(&lingpai.RPCError{Code: "UNAVAILABLE", Reason: "TOO_SOON", RetryAfter: time.Hour})
	own <- source
	if _, _, err := source.Report(t.Context(), await(t, source, 1)); err == nil {
		t.Error("it was refused")
	}
	if told := <-outcomes; !strings.Contains(told, "TOO_SOON") {
		t.Errorf("the observer got %s", told)
	}
}

func TestARefusalIsAnsweredUntilItEnds(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1")
	defer broker.Stop()
	client, _ := connect(t, broker, lingpai.Apps("wx1"))
	broker.Refuse(&lingpai.RPCError{Code: "RESOURCE_EXHAUSTED", Reason: "COOLDOWN", App: "wx1", RetryAfter: 2 * time.Second})
	_, _, err := client.App("wx1").Report(t.Context(), await(t, client.App("wx1"), 1))
	var refused *lingpai.RPCError
	if !errors.As(err, &refused) || refused.Code != "RESOURCE_EXHAUSTED" || refused.Reason != "COOLDOWN" ||
		refused.App != "wx1" || refused.RetryAfter != 2*time.Second {
		t.Errorf("a report: %+v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = lingpai.New(ctx, broker.Target, lingpai.Apps("wx1"), lingpai.OnEvent(func(lingpai.Event) { cancel() })) // once it was refused
	var late *lingpai.StartTimeoutError
	if !errors.As(err, &late) || !errors.As(late.Last, &refused) || refused.Reason != "COOLDOWN" {
		t.Errorf("a start: %v", err)
	}
	broker.Refuse(nil)
	other, _ := connect(t, broker, lingpai.Apps("wx1"))
	if outcome, _, err := other.App("wx1").Report(t.Context(), await(t, other.App("wx1"), 1)); outcome != "STILL_VALID" {
		t.Errorf("a report of what is good: %s, %v", outcome, err)
	}
}

func TestAnUnknownAppIsNamedAndHeals(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1")
	defer broker.Stop()
	_, err := lingpai.New(t.Context(), broker.Target, lingpai.Apps("wx1", "wx2"))
	var unknown *lingpai.RPCError
	if !errors.As(err, &unknown) || unknown.Code != "NOT_FOUND" || unknown.App != "wx2" {
		t.Errorf("a start: %v", err)
	}
	client, _ := connect(t, broker, lingpai.Apps("wx1", "wx2"), lingpai.StartOptional())
	await(t, client.App("wx1"), 1)
	broker.Add("wx2")
	await(t, client.App("wx2"), 1)
}

func TestARemovedAppComesBack(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1")
	defer broker.Stop()
	client, events := connect(t, broker, lingpai.Apps("wx1"))
	until(t, events, "state")
	broker.Remove("wx1")
	if state := until(t, events, "state"); state.Reason != lingpai.Removed {
		t.Errorf("removed: %+v", state)
	}
	broker.Add("wx1")
	await(t, client.App("wx1"), 2)
}
