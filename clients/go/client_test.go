package lingpai

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func TestR18WhatPrintsATokenPrintsItsID(t *testing.T) {
	token := &Token{Value: "SECRET", ID: "0123456789ab", Generation: 7, Previous: &Token{Value: "SECRET0", ID: "ba9876543210"}}
	held := struct {
		Token *Token
		Copy  Token
	}{token, *token}
	owner := struct{ own *Token }{token}
	of := map[string]any{"token": token, "value": *token, "held": held}
	text, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	markup, err := xml.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("it", "token", token, "value", *token, "held", held, "of", of, slog.Group("group", "token", token))
	}
	printed := []string{string(text), string(markup), log.String(), fmt.Sprint(token, *token), token.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%08.3f", "%T %[1]v"} {
		for _, each := range []any{token, *token, []*Token{token}, []Token{*token}, map[string]Token{"a": *token}, held, &held} {
			printed = append(printed, fmt.Sprintf(verb, each))
		}
	}
	printed = append(printed, fmt.Sprintf("%v %+v %#v", owner, owner, owner))
	for _, each := range printed {
		lower := strings.ToLower(each)
		if strings.Contains(lower, "secret") || strings.Contains(lower, fmt.Sprintf("%x", "SECRET")) {
			t.Errorf("it printed its value: %s", each)
		}
	}
	if !strings.Contains(string(text), token.ID) || !strings.Contains(string(markup), token.ID) || fmt.Sprintf("%#v", token) != token.ID {
		t.Errorf("it did not print its ID: %s, %s", text, markup)
	}
}

func TestConfigurationErrorsSayWhatToWrite(t *testing.T) {
	for words, given := range map[string]struct {
		target  string
		options []Option
	}{
		"target broker is no address: write HOST:PORT":  {"broker", []Option{Apps("wx1")}},
		"target broker:7600/x":                          {"broker:7600/x", []Option{Apps("wx1")}},
		"target broker: is":                             {"broker:", []Option{Apps("wx1")}},
		"target broker:grpc":                            {"broker:grpc", []Option{Apps("wx1")}},
		"target broker:0":                               {"broker:0", []Option{Apps("wx1")}},
		"target broker:65536":                           {"broker:65536", []Option{Apps("wx1")}},
		"target user@broker:7600":                       {"user@broker:7600", []Option{Apps("wx1")}},
		"target http://broker/x:7600":                   {"http://broker/x:7600", []Option{Apps("wx1")}},
		"Logger is nil":                                 {"broker:7600", []Option{Apps("wx1"), Logger(nil)}},
		"KeyFunc is nil":                                {"https://broker:7600", []Option{Apps("wx1"), KeyFunc(nil)}},
		"OnEvent is nil":                                {"broker:7600", []Option{Apps("wx1"), OnEvent(nil)}},
		"Apps has 0 ids: name 1 to 10000":               {"broker:7600", nil},
		"Apps has \"a b\"":                              {"broker:7600", []Option{Apps("a b")}},
		"CA or Certificate is given, but http://b:1 is": {"http://b:1", []Option{Apps("wx1"), CA("a")}},
		"give one of them":                              {"https://broker:7600", []Option{Apps("wx1"), Key("a"), KeyFile("b")}},
		"write https://broker:7600":                     {"http://broker:7600", []Option{Apps("wx1"), Key("a")}},
		"Certificate is empty: give it a value":         {"https://broker:7600", []Option{Apps("wx1"), Certificate("a", "")}},
		"CA is empty":                                   {"broker:7600", []Option{Apps("wx1"), CA("")}},
		"Key is empty":                                  {"https://broker:7600", []Option{Apps("wx1"), Key("")}},
		"KeyFile is empty":                              {"https://broker:7600", []Option{Apps("wx1"), KeyFile("")}},
		"Key has characters":                            {"https://broker:7600", []Option{Apps("wx1"), Key("two words")}},
	} {
		_, err := configure(given.target, given.options)
		var wrong *ConfigurationError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", given.target, err, words)
		}
	}
	if _, err := configure("127.0.0.1:7600", []Option{Apps("wx1"), Key("a")}); err != nil {
		t.Errorf("a key to loopback: %v", err)
	}
}

func TestR17AnObserverMayUseTheClient(t *testing.T) {
	o, _ := configure("127.0.0.1:7600", []Option{Apps("wx1")})
	c := newClient(o)
	var told []string
	c.told.observe = func(event Event) {
		told = append(told, event.Type+event.Reason)
		_, _ = c.App("wx1").Token()
		_, _ = c.App("wx1").Await(canceled, 1)
		_ = c.Stats()
		_ = c.Close()
	}
	c.App("wx1").drop(NotFound)
	if want := []string{"stateNOT_FOUND", "closed"}; !slices.Equal(told, want) {
		t.Errorf("it was told %q, want %q", told, want)
	}
}

func TestR17WhatAnObserverThrowsIsSwallowed(t *testing.T) {
	var log bytes.Buffer
	o, _ := configure("127.0.0.1:7600", []Option{Apps("wx1", "wx2"), Logger(slog.New(slog.NewTextHandler(&log, nil)))})
	told := 0
	o.onEvent = func(Event) {
		told++
		panic("theirs")
	}
	c := newClient(o)
	c.App("wx1").drop(Pending)
	c.App("wx2").drop(Pending)
	if told != 2 || strings.Count(log.String(), "panic=theirs") != 2 {
		t.Errorf("it was told %d times, and the log says %q", told, log.String())
	}
}

func TestR17AnObserverMayEndItsGoroutine(t *testing.T) {
	o, _ := configure("127.0.0.1:7600", []Option{Apps("wx1", "wx2")})
	told := 0
	o.onEvent = func(Event) {
		told++
		runtime.Goexit() // as t.Fatal does
	}
	c := newClient(o)
	c.App("wx1").drop(Pending)
	c.App("wx2").drop(Pending)
	if told != 2 {
		t.Errorf("it was told %d times", told)
	}
}

func TestR9AKeyFunctionThatPanicsIsAKeyThatCannotBeRead(t *testing.T) {
	for words, end := range map[string]func(){"it panicked": func() { panic("SECRET") }, "it ended its goroutine": runtime.Goexit} {
		o, err := configure("https://127.0.0.1:7600", []Option{Apps("wx1"), KeyFunc(func(context.Context) (string, error) {
			end()
			return "key", nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := o.bearer(ctx); err == nil || !explain(err).NeedsOperator || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%v, want %q", err, words)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	source := newSource("wx1", &Client{})
	source.held.Store(&held{token: &Token{Value: "v", ID: "i", Generation: 1}})
	for b.Loop() {
		if token, err := source.Token(); err != nil || token.Generation == 0 {
			b.Fatal(err)
		}
	}
}
