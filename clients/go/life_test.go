package lingpai_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	lingpai "lingpai.example/clients/go"
	"lingpai.example/clients/go/lingpaitest"
)

var quick = lingpai.WithTiming(lingpai.Timing{BackoffBase: time.Millisecond, BackoffCap: 2 * time.Millisecond, BackoffFloor: time.Millisecond})

// silent listens and says nothing: a connection to it is open, and dead.
func silent(t *testing.T) (target string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// goroutines has the stacks of the library's and gRPC's goroutines.
func goroutines() (stacks []string) {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	for _, stack := range strings.Split(string(all), "\n\n") {
		if strings.Contains(stack, "created by lingpai.example/clients/go.") || strings.Contains(stack, "created by google.golang.org/grpc") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// leavesNothing fails where a goroutine of a closed client is still there. One that was told to end may take a moment.
func leavesNothing(t *testing.T) {
	t.Helper()
	for late := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		left := goroutines()
		if len(left) == 0 {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("%d goroutines are left, one of them\n%s", len(left), left[0])
		}
	}
}

func TestR4AStartThatIsLateNamesTheAppsAndWhatFailed(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1")
	broker.Stop()
	for _, target := range []string{silent(t), broker.Target} {
		began := time.Now()
		late := lingpai.StartTimeout(50 * time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		if target == broker.Target {
			late = lingpai.OnEvent(func(lingpai.Event) { cancel() }) // once it has failed, however long that takes
		}
		_, err := lingpai.New(ctx, target, lingpai.Apps("wx1", "wx2"), late)
		cancel()
		var timeout *lingpai.StartTimeoutError
		if !errors.As(err, &timeout) || len(timeout.Apps) != 2 || !strings.Contains(err.Error(), "no token of wx1, wx2 in time") {
			t.Errorf("%v", err)
		}
		if target == broker.Target && !strings.Contains(err.Error(), "UNAVAILABLE: dial tcp 127.0.0.1:") {
			t.Errorf("it does not say what failed: %v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		leavesNothing(t)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lingpai.New(ended, broker.Target, lingpai.Apps("wx1")); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended bounds the start: %v", err)
	}
	leavesNothing(t)
}

func TestR4ARefusalEndsAStartAtOnce(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1")
	defer broker.Stop()
	log := &journal{}
	for _, code := range []string{"UNAUTHENTICATED", "INVALID_ARGUMENT", "NOT_FOUND"} {
		broker.Refuse(&lingpai.RPCError{Code: code, Reason: "WHY", App: "wx1"})
		_, err := lingpai.New(t.Context(), broker.Target, lingpai.Apps("wx1"), lingpai.Logger(slog.New(slog.NewTextHandler(log, nil))))
		var refused *lingpai.RPCError
		if !errors.As(err, &refused) || refused.Code != code || refused.Reason != "WHY" {
			t.Errorf("%s: %v", code, err)
		}
	}
	if log.text.Len() > 0 {
		t.Errorf("what New returns is logged too: %s", log.text.String())
	}
}

func TestR6ADeadConnectionIsReplaced(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan struct{}, 1000)
	go func() { // a server that says hello, and then nothing: gRPC sees nothing wrong with the connection
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = connection.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) // SETTINGS
			go func() {
				_, _ = io.Copy(io.Discard, connection)
				_ = connection.Close()
			}()
			accepted <- struct{}{}
		}
	}()
	failed := make(chan lingpai.Event, 1000)
	client, err := lingpai.New(t.Context(), listener.Addr().String(), lingpai.Apps("wx1"), lingpai.StartOptional(), quick,
		lingpai.WithTiming(lingpai.Timing{Silence: 20 * time.Millisecond}), lingpai.OnEvent(func(event lingpai.Event) { failed <- event }))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	late := time.After(10 * time.Second)
	for i := range 3 {
		select {
		case <-accepted:
		case <-late:
			t.Fatalf("%d connections", i)
		}
		if event := <-failed; event.Type != "error" || event.Code != "UNAVAILABLE" {
			t.Errorf("%+v", event)
		}
	}
}

func TestR15CloseLeavesNothing(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1")
	stopped := lingpaitest.NewBroker("wx1")
	stopped.Stop()
	for name, target := range map[string]string{"live": broker.Target, "connecting": silent(t), "in a pause": stopped.Target} {
		client, err := lingpai.New(t.Context(), target, lingpai.Apps("wx1"), lingpai.StartOptional())
		if err != nil {
			t.Fatal(err)
		}
		source := client.App("wx1")
		if name == "live" {
			token, err := source.Await(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			if outcome, _, err := source.Report(t.Context(), token); outcome != "STILL_VALID" || err != nil {
				t.Errorf("a report: %s, %v", outcome, err)
			}
		}
		var waiting sync.WaitGroup
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			if _, err := source.Await(t.Context(), 100); !errors.Is(err, lingpai.ErrClosed) {
				t.Errorf("%s: a waiter: %v", name, err)
			}
		}()
		began := time.Now()
		for range 3 {
			_ = client.Close()
		}
		if took := time.Since(began); took > 1400*time.Millisecond {
			t.Errorf("%s: it took %v", name, took)
		}
		waiting.Wait()
		if _, err := source.Token(); !errors.Is(err, lingpai.ErrClosed) {
			t.Errorf("%s: a read: %v", name, err)
		}
	}
	broker.Stop()
	leavesNothing(t)
}

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(text []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(text)
}

func (j *journal) count(words string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), words)
}

func TestR17WhatIsLogged(t *testing.T) {
	broker := lingpaitest.NewBroker("wx1")
	defer broker.Stop()
	log := &journal{}
	errorsTold, back := make(chan struct{}, 1000), make(chan struct{}, 1000)
	failures := 0 // read once the stream is back
	client, err := lingpai.New(t.Context(), broker.Target, lingpai.Apps("wx1", "wx2"), lingpai.StartOptional(), quick,
		lingpai.Logger(slog.New(slog.NewTextHandler(log, nil))), lingpai.OnEvent(func(event lingpai.Event) {
			switch event.Type {
			case "error":
				if event.Code != "NOT_FOUND" {
					failures++
				}
				errorsTold <- struct{}{}
			case "reconnect":
				back <- struct{}{}
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	token, err := client.App("wx1").Await(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if log.count("level=WARN") != 1 || log.count("app=wx2") != 1 {
		t.Errorf("an unknown app is a warning that names it: %s", log.text.String())
	}
	<-errorsTold
	broker.Stop()
	for range 12 {
		<-errorsTold
	}
	broker.Start()
	<-back
	for words, want := range map[string]int{
		"level=INFO msg=\"the stream to the broker is lost": 1, "level=INFO msg=\"the stream to the broker is back": 1,
		token.Value: 0,
	} {
		if got := log.count(words); got != want {
			t.Errorf("%d times %q, want %d", got, words, want)
		}
	}
	// The third, and each tenth.
	if got, want := log.count("level=WARN msg=\"the stream to the broker failed"), 1+failures/10; got != want {
		t.Errorf("%d warnings for %d failures in a row, want %d", got, failures, want)
	}
}
