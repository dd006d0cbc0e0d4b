package lingpai

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestWhatPrintsATokenPrintsItsID(t *testing.T) {
	token := &Token{Value: "SECRET", ID: "0123456789ab", Generation: 7}
	text, _ := json.Marshal(map[string]any{"token": token, "value": *token})
	for _, printed := range []string{
		fmt.Sprint(token), fmt.Sprintf("%v %+v %#v %s %q %x", token, token, token, token, *token, *token), string(text),
		fmt.Sprintf("%+v", struct{ Token *Token }{token}), token.LogValue().String(),
	} {
		if strings.Contains(printed, "SECRET") || strings.Contains(printed, fmt.Sprintf("%x", "SECRET")) {
			t.Errorf("it printed its value: %s", printed)
		}
	}
}

func TestConfigurationErrorsSayWhatToWrite(t *testing.T) {
	for words, given := range map[string]struct {
		target  string
		options []Option
	}{
		"target broker is no address: write HOST:PORT": {"broker", []Option{Apps("wx1")}},
		"Apps has 0 ids: name 1 to 10000":              {"broker:7600", nil},
		"Apps has \"a b\"":                             {"broker:7600", []Option{Apps("a b")}},
		"give one of them":                             {"https://broker:7600", []Option{Apps("wx1"), Key("a"), KeyFile("b")}},
		"write https://broker:7600":                    {"http://broker:7600", []Option{Apps("wx1"), Key("a")}},
		"Certificate wants two paths":                  {"https://broker:7600", []Option{Apps("wx1"), Certificate("a", "")}},
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

func TestAnObserverMayUseTheClient(t *testing.T) {
	var client *Client
	told := 0
	client = &Client{sources: map[string]*Source{}}
	client.told = &teller{observe: func(Event) {
		told++
		_, _ = client.sources["wx1"].Token()
		client.sources["wx1"].mu.Lock() // what a call of it would do
		client.sources["wx1"].mu.Unlock()
	}}
	client.sources["wx1"] = newSource("wx1", client)
	client.sources["wx1"].drop(NotFound)
	if told != 1 {
		t.Errorf("it was told %d times", told)
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
