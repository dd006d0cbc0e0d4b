// Command conformance is the kit's driver of this library: test/conformance/README.md says what it answers.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"time"

	"lingpai.example/clients/go"
)

type request struct {
	ID         int      `json:"id"`
	Op         string   `json:"op"`
	Client     string   `json:"client"`
	App        string   `json:"app"`
	Generation string   `json:"generation"`
	TimeoutMs  int      `json:"timeoutMs"`
	Script     []string `json:"script"`
	Reads      int      `json:"reads"`
	Forget     bool     `json:"forget"`
	Options    struct {
		Target         string           `json:"target"`
		Apps           []string         `json:"apps"`
		StartTimeoutMs int              `json:"startTimeoutMs"`
		StartOptional  bool             `json:"startOptional"`
		Timing         map[string]int64 `json:"timing"`
		TLS            struct{ CA, Cert, Key string }
		KeyFile        string `json:"keyFile"`
		Plaintext      bool   `json:"plaintext"`
	} `json:"options"`
}

type fields = map[string]any

type entry struct {
	client *lingpai.Client
	mu     sync.Mutex
	events []fields
	seen   map[string]*lingpai.Token
}

// businessError is an error of the user's own business.
type businessError struct{ errcode string }

func (e businessError) Error() string { return "errcode " + e.errcode }

// attempted is an error of a call, and what was tried.
type attempted struct {
	error
	ids []string
}

func (e attempted) Unwrap() error { return e.error }

var (
	clients  sync.Map
	printing sync.Mutex
	sum      int
)

func idOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])[:12]
}

func (e *entry) shown(token *lingpai.Token) fields {
	e.mu.Lock()
	defer e.mu.Unlock()
	generation := strconv.FormatUint(token.Generation, 10)
	e.seen[generation] = token
	shown := fields{"generation": generation, "tokenId": idOf(token.Value)}
	if token.Previous != nil {
		shown["previousId"] = idOf(token.Previous.Value)
	}
	return shown
}

func (e *entry) told(event lingpai.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, fields{
		"type": event.Type, "app": event.App, "state": event.State, "generation": strconv.FormatUint(event.Generation, 10),
		"tokenId": event.TokenID, "reason": event.Reason, "outcome": event.Outcome, "during": event.During, "code": event.Code,
		"afterMs": event.After.Milliseconds(), "retryInMs": event.After.Milliseconds(),
	})
}

func create(r request) (any, error) {
	ms := func(name string) time.Duration { return time.Duration(r.Options.Timing[name]) * time.Millisecond }
	e := &entry{seen: map[string]*lingpai.Token{}}
	options := []lingpai.Option{
		lingpai.Apps(r.Options.Apps...), lingpai.OnEvent(e.told),
		lingpai.WithTiming(lingpai.Timing{
			Silence: ms("silenceMs"), Connect: ms("connectMs"), Call: ms("callMs"), BackoffBase: ms("backoffBaseMs"),
			BackoffCap: ms("backoffCapMs"), BackoffFloor: ms("backoffFloorMs"), Life: ms("lifeMs"), GoawayCap: ms("goawayCapMs"),
			RetryCap: ms("retryCapMs"), Slow: ms("slowMs"), SlowCap: ms("slowCapMs"), AppRetry: ms("appRetryMs"),
		}),
	}
	if r.Options.StartTimeoutMs > 0 {
		options = append(options, lingpai.StartTimeout(time.Duration(r.Options.StartTimeoutMs)*time.Millisecond))
	}
	if r.Options.StartOptional {
		options = append(options, lingpai.StartOptional())
	}
	if r.Options.TLS.CA != "" {
		options = append(options, lingpai.CA(r.Options.TLS.CA))
	}
	if r.Options.TLS.Cert != "" {
		options = append(options, lingpai.Certificate(r.Options.TLS.Cert, r.Options.TLS.Key))
	}
	if r.Options.KeyFile != "" {
		options = append(options, lingpai.KeyFile(r.Options.KeyFile))
	}
	if r.Options.Plaintext {
		options = append(options, lingpai.Plaintext())
	}
	client, err := lingpai.New(context.Background(), r.Options.Target, options...)
	if err != nil {
		return nil, err
	}
	e.client = client
	clients.Store(r.Client, e)
	return fields{}, nil
}

func call(e *entry, r request) (any, error) {
	ids := []string{}
	err := e.client.App(r.App).Do(context.Background(), func(_ context.Context, token string) error {
		ids = append(ids, idOf(token))
		result := "ok"
		if len(ids) <= len(r.Script) {
			result = r.Script[len(ids)-1]
		}
		if result == "ok" {
			return nil
		}
		errcode, _ := strconv.Atoi(result)
		if rejected := lingpai.Rejected(errcode); rejected != nil {
			return rejected
		}
		return businessError{result}
	})
	if err != nil {
		return nil, attempted{err, ids}
	}
	return fields{"attempts": len(ids), "tokenIds": ids}, nil
}

func report(e *entry, r request) (any, error) {
	source := e.client.App(r.App)
	e.mu.Lock()
	refused := e.seen[r.Generation]
	e.mu.Unlock()
	if refused == nil {
		token, err := source.Token()
		if err != nil {
			return nil, err
		}
		refused = token
	}
	outcome, token, err := source.Report(context.Background(), refused)
	if err != nil {
		return nil, err
	}
	shown := e.shown(token)
	shown["outcome"] = outcome
	return shown, nil
}

func wait(e *entry, r request) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.TimeoutMs)*time.Millisecond)
	defer cancel()
	generation, _ := strconv.ParseUint(r.Generation, 10, 64)
	token, err := e.client.App(r.App).Await(ctx, generation)
	if err != nil {
		return nil, err
	}
	return e.shown(token), nil
}

func stats(e *entry) any {
	stats := e.client.Stats()
	apps := fields{}
	for app, one := range stats.Apps {
		apps[app] = fields{
			"state": one.State, "generation": strconv.FormatUint(one.Generation, 10), "tokenId": one.TokenID, "reason": one.Reason,
		}
	}
	return fields{
		"state": stats.State, "attempts": stats.Attempts, "reconnects": stats.Reconnects, "goaways": stats.Goaways,
		"reports": stats.Reports, "apps": apps,
	}
}

func bench(e *entry, r request) any {
	source := e.client.App(r.App)
	began := time.Now()
	for range r.Reads {
		token, err := source.Token()
		if err != nil {
			panic(err)
		}
		sum += len(token.Value)
	}
	return fields{"nsPerRead": float64(time.Since(began).Nanoseconds()) / float64(r.Reads)}
}

// leaks counts goroutines as threads: those of the operating system come and go with the runtime.
func leaks() any {
	runtime.GC()
	files, _ := os.ReadDir("/proc/self/fd")
	return fields{"threads": runtime.NumGoroutine(), "files": len(files)}
}

func answer(r request) (any, error) {
	switch r.Op {
	case "hello":
		return fields{"name": "go", "version": "0.1.0", "transport": "grpc", "capabilities": []string{"tls"}}, nil
	case "create":
		return create(r)
	case "leaks":
		return leaks(), nil
	}
	found, isKnown := clients.Load(r.Client)
	if !isKnown {
		return nil, errors.New("no such client")
	}
	e := found.(*entry)
	switch r.Op {
	case "token":
		token, err := e.client.App(r.App).Token()
		if err != nil {
			return nil, err
		}
		return e.shown(token), nil
	case "wait":
		return wait(e, r)
	case "call":
		return call(e, r)
	case "report":
		return report(e, r)
	case "stats":
		return stats(e), nil
	case "events":
		e.mu.Lock()
		defer e.mu.Unlock()
		events := append([]fields{}, e.events...)
		e.events = nil
		return fields{"events": events}, nil
	case "bench":
		return bench(e, r), nil
	case "close":
		if r.Forget {
			clients.Delete(r.Client)
		}
		return fields{}, e.client.Close()
	}
	return nil, errors.New("no such op")
}

func explain(err error) fields {
	explained := fields{"kind": "Other", "message": err.Error()}
	var (
		none     *lingpai.NoTokenError
		start    *lingpai.StartTimeoutError
		rpc      *lingpai.RPCError
		rejected *lingpai.RejectedError
		wrong    *lingpai.ConfigurationError
		business businessError
		tried    attempted
	)
	if errors.As(err, &tried) {
		explained["attempts"], explained["tokenIds"] = len(tried.ids), tried.ids
	}
	switch {
	case errors.As(err, &none):
		explained["kind"], explained["reason"] = "NoToken", none.Reason
	case errors.Is(err, context.DeadlineExceeded):
		explained["kind"], explained["reason"] = "NoToken", "TIMEOUT"
	case errors.Is(err, lingpai.ErrClosed):
		explained["kind"] = "Closed"
	case errors.As(err, &start):
		explained["kind"] = "StartTimeout"
	case errors.As(err, &rejected):
		explained["kind"], explained["code"] = "Rejected", strconv.Itoa(rejected.Errcode)
	case errors.As(err, &wrong):
		explained["kind"] = "Configuration"
	case errors.As(err, &rpc):
		explained["kind"], explained["code"], explained["reason"] = "Rpc", rpc.Code, rpc.Reason
	case errors.As(err, &business):
		explained["code"] = business.errcode
	}
	return explained
}

// word names an op.
var word = regexp.MustCompile(`^[a-z]+$`)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil || !word.MatchString(r.Op) {
			continue
		}
		reply := func() {
			ok, err := answer(r)
			line := fields{"id": r.ID, "ok": ok}
			if err != nil {
				line = fields{"id": r.ID, "error": explain(err)}
			}
			printing.Lock()
			defer printing.Unlock()
			_ = json.NewEncoder(os.Stdout).Encode(line)
		}
		if r.Op == "leaks" { // not on a goroutine, which would count itself
			reply()
		} else {
			go reply()
		}
	}
	clients.Range(func(_, found any) bool {
		_ = found.(*entry).client.Close()
		return true
	})
}
