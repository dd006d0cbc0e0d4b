// Command token-service is a small service that holds the newest access_token of one WeChat app, and calls WeChat with it every few seconds.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	lingpai "lingpai.example/clients/go"
)

// startTimeout is how long the service waits for its first token.
const startTimeout = 30 * time.Second

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

// run is the service, until it is ended. It gives the exit code.
func run(args []string, complaints io.Writer) int {
	flags := flag.NewFlagSet("token-service", flag.ContinueOnError)
	flags.SetOutput(complaints)
	app := flags.String("app", "", "the WeChat app id (required)")
	everyMs := flags.Int("every-ms", 5000, "the time between calls of WeChat, in milliseconds")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	wrong := func(words string) int {
		fmt.Fprintln(complaints, "token-service:", words)
		return 2
	}
	if flags.NArg() > 0 {
		return wrong(fmt.Sprintf("%s is no flag: write --app ID and --every-ms N", flags.Arg(0)))
	}
	if *app == "" {
		return wrong("--app is required: the id of an app that the broker serves")
	}
	if *everyMs < 1 {
		return wrong("--every-ms wants a number of milliseconds above 0")
	}
	weChat, err := url.Parse(or(os.Getenv("WECHAT_URL"), "https://api.weixin.qq.com"))
	if err != nil || weChat.Host == "" {
		return wrong("WECHAT_URL is no URL: write one like https://api.weixin.qq.com")
	}
	if os.Getenv("LINGPAI_KEY") != "" && os.Getenv("LINGPAI_KEY_FILE") != "" {
		return wrong("LINGPAI_KEY and LINGPAI_KEY_FILE are both set: unset one of them")
	}
	if (os.Getenv("LINGPAI_CERT") == "") != (os.Getenv("LINGPAI_CERT_KEY") == "") {
		return wrong("LINGPAI_CERT and LINGPAI_CERT_KEY belong together: set both")
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := lingpai.New(ctx, or(os.Getenv("LINGPAI_ADDR"), "http://127.0.0.1:7600"), options(*app)...)
	var misconfigured *lingpai.ConfigurationError
	switch {
	case errors.As(err, &misconfigured):
		return wrong(variables.Replace(err.Error()))
	case ctx.Err() != nil:
		tell("stopped", nil)
		return 0
	case err != nil:
		fields := fields{"during": "start", "code": "", "reason": "", "message": err.Error()}
		var failed *lingpai.RPCError
		if errors.As(err, &failed) {
			fields["code"], fields["reason"] = failed.Code, failed.Reason
		}
		tell("error", fields)
		return 1
	}
	defer func() {
		_ = client.Close()
		tell("stopped", nil)
	}()
	for {
		call(ctx, client.App(*app), weChat)
		select {
		case <-ctx.Done():
			return 0
		case <-time.After(time.Duration(*everyMs) * time.Millisecond):
		}
	}
}

// variables has the names under which the options that can be wrong are read here.
var variables = strings.NewReplacer("target ", "LINGPAI_ADDR ", "Apps has", "--app has", "Key has", "LINGPAI_KEY has", "give Plaintext", "set LINGPAI_PLAINTEXT=1")

// options are the library's, by the environment.
func options(app string) []lingpai.Option {
	options := []lingpai.Option{
		lingpai.Apps(app), lingpai.StartTimeout(startTimeout), lingpai.OnEvent(observe),
		lingpai.Logger(slog.New(slog.DiscardHandler)), // OnEvent tells the same
	}
	if path := os.Getenv("LINGPAI_CA"); path != "" {
		options = append(options, lingpai.CA(path))
	}
	if cert, key := os.Getenv("LINGPAI_CERT"), os.Getenv("LINGPAI_CERT_KEY"); cert != "" || key != "" {
		options = append(options, lingpai.Certificate(cert, key))
	}
	if path := os.Getenv("LINGPAI_KEY_FILE"); path != "" {
		options = append(options, lingpai.KeyFile(path))
	}
	if key := os.Getenv("LINGPAI_KEY"); key != "" {
		options = append(options, lingpai.Key(key))
	}
	if os.Getenv("LINGPAI_PLAINTEXT") == "1" {
		options = append(options, lingpai.Plaintext())
	}
	return options
}

// call asks WeChat with the newest token, and tells how it went.
func call(ctx context.Context, source *lingpai.Source, weChat *url.URL) {
	outcome := fields{}
	err := source.Do(ctx, func(ctx context.Context, token string) error {
		sum := sha256.Sum256([]byte(token))
		outcome["token_id"] = hex.EncodeToString(sum[:])[:12]
		return ask(ctx, weChat, token)
	})
	if ctx.Err() != nil {
		return
	}
	outcome["ok"] = err == nil
	if err != nil {
		outcome["message"] = err.Error()
	}
	tell("call", outcome)
}

// ask makes one call of WeChat. The error is lingpai.ErrRejected where WeChat refuses the token.
func ask(ctx context.Context, weChat *url.URL, token string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	where := weChat.JoinPath("/cgi-bin/getcallbackip")
	where.RawQuery = url.Values{"access_token": {token}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return errors.New("the URL of WeChat is wrong")
	}
	response, err := http.DefaultClient.Do(request)
	var failed *url.Error
	if errors.As(err, &failed) {
		return fmt.Errorf("WeChat cannot be reached: %w", failed.Err) // without the URL, which has the token in it
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct{ Errcode int }
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&answer); err != nil {
		return fmt.Errorf("WeChat answered by HTTP %d, without JSON", response.StatusCode)
	}
	if answer.Errcode == 0 {
		return nil
	}
	if rejected := lingpai.Rejected(answer.Errcode); rejected != nil {
		return rejected
	}
	return fmt.Errorf("WeChat answered errcode %d", answer.Errcode)
}

type fields = map[string]any

// observe prints what the library tells.
func observe(event lingpai.Event) {
	switch event.Type {
	case "state":
		tell("state", fields{
			"app": event.App, "state": event.State, "generation": strconv.FormatUint(event.Generation, 10),
			"token_id": event.TokenID, "reason": event.Reason,
		})
	case "reconnect":
		tell("reconnect", nil)
	case "goaway":
		tell("goaway", fields{"after_ms": event.After.Milliseconds()})
	case "report":
		tell("report", fields{"app": event.App, "outcome": event.Outcome})
	case "error":
		tell("error", fields{
			"during": event.During, "code": event.Code, "reason": event.Reason, "message": event.Err.Error(),
			"retry_in_ms": event.After.Milliseconds(),
		})
	}
}

var printing sync.Mutex

// tell prints a line of JSON. It is told of no secret.
func tell(event string, with fields) {
	line := fields{"event": event}
	for key, value := range with {
		line[key] = value
	}
	printing.Lock()
	defer printing.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(line)
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
