// Command token-service is a small service that always holds the newest access_token of one WeChat app.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"lingpai.example/go/tokens"
)

//go:generate buf generate ../../../proto

func main() {
	addr := os.Getenv("LINGPAI_ADDR")
	if addr == "" {
		addr = "127.0.0.1:7600"
	}
	flag.StringVar(&addr, "addr", addr, "the broker's gRPC address, HOST:PORT or https://HOST:PORT (or LINGPAI_ADDR)")
	app := flag.String("app", "", "the WeChat app id (required)")
	silence := flag.Float64("silence-seconds", 25, "how long a stream may say nothing before it counts as dead")
	reportOnce := flag.Bool("report-once", false, "demonstrate a refused token: calls that find the one held refused")
	flag.Parse()
	if *app == "" {
		fmt.Fprintln(os.Stderr, "token-service: --app is required: the id of an app that the broker serves")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	broker, err := brokerAt(addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "token-service:", err)
		os.Exit(2)
	}
	if err := run(ctx, broker, *app, time.Duration(*silence*float64(time.Second)), *reportOnce); err != nil {
		fmt.Fprintln(os.Stderr, "token-service:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, broker broker, app string, silence time.Duration, reportOnce bool) error {
	source := &tokens.Source{Dial: broker.dial, AppID: app, Silence: silence, Observe: printEvent}
	if err := source.Load(ctx); err != nil {
		failure := tokens.Explain(err)
		printEvent("error", failure.Fields("get"))
		if failure.Permanent() {
			return err
		}
		// Anything else passes: the watch brings the token when there is one.
	}
	var watching sync.WaitGroup
	watching.Go(func() { source.Run(ctx) })
	if reportOnce {
		demonstrateReport(ctx, source)
	}
	<-ctx.Done()
	watching.Wait()
	printEvent("stopped", nil)
	return nil
}

// demonstrateReport makes three business calls with a token that is refused: two hear of it at once, one when they are
// over. A real one asks WeChat with the token and returns tokens.ErrRejected for errcode 40001, 40014 or 42001.
func demonstrateReport(ctx context.Context, source *tokens.Source) {
	var begun, quick sync.WaitGroup
	begun.Add(3)
	call := func(answer *sync.WaitGroup) {
		begin := sync.OnceFunc(begun.Done)
		defer begin()
		refused := false
		err := source.Call(ctx, func(context.Context, string) error {
			if refused {
				return nil
			}
			refused = true
			begin()
			answer.Wait()
			return tokens.ErrRejected
		})
		if err != nil {
			printEvent("error", tokens.Explain(err).Fields("call"))
			return
		}
		printEvent("call", map[string]any{"ok": true})
	}
	for range 2 {
		quick.Go(func() { call(&begun) })
	}
	call(&quick)
}

var printing sync.Mutex

// printEvent writes one JSON line. It is told of no secret.
func printEvent(event string, fields map[string]any) {
	line := map[string]any{"event": event}
	for key, value := range fields {
		line[key] = value
	}
	printing.Lock()
	defer printing.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(line)
}
