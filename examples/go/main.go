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

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	pb "lingpai.example/go/gen/lingpai/v1"
	"lingpai.example/go/tokens"
)

//go:generate buf generate ../../proto

func main() {
	addr := os.Getenv("LINGPAI_ADDR")
	if addr == "" {
		addr = "127.0.0.1:7600"
	}
	flag.StringVar(&addr, "addr", addr, "the broker's gRPC address (or LINGPAI_ADDR)")
	app := flag.String("app", "", "the WeChat app id (required)")
	silence := flag.Float64("silence-seconds", 25, "how long a stream may say nothing before it counts as dead")
	reportOnce := flag.Bool("report-once", false, "demonstrate a refused token: report the one held, once")
	flag.Parse()
	if *app == "" {
		fmt.Fprintln(os.Stderr, "token-service: --app is required: the id of an app that the broker serves")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, addr, *app, time.Duration(*silence*float64(time.Second)), *reportOnce); err != nil {
		fmt.Fprintln(os.Stderr, "token-service:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr, app string, silence time.Duration, reportOnce bool) error {
	// Bounded, so that a broker that was away for long is found again within seconds.
	connect := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	connect.Backoff.MaxDelay = 5 * time.Second
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(connect))
	if err != nil {
		return err
	}
	defer conn.Close()

	source := &tokens.Source{Client: pb.NewTokenServiceClient(conn), AppID: app, Silence: silence, Observe: printEvent}
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

// demonstrateReport makes a business call that is refused the first time. A real one asks WeChat with the token and
// returns tokens.ErrRejected for errcode 40001, 40014 or 42001.
func demonstrateReport(ctx context.Context, source *tokens.Source) {
	refused := false
	err := source.Call(ctx, func(context.Context, string) error {
		if !refused {
			refused = true
			return tokens.ErrRejected
		}
		return nil
	})
	if err != nil {
		printEvent("error", tokens.Explain(err).Fields("call"))
		return
	}
	printEvent("call", map[string]any{"ok": true})
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
