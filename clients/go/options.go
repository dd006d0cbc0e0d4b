package lingpai

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Option is how a client is made. A wrong one, or one that is given an empty value, makes New return a ConfigurationError before anything is sent.
type Option func(*options)

type options struct {
	apps          []string
	startTimeout  time.Duration
	startOptional bool
	ca            string
	cert, certKey string
	key           string
	keyFile       string
	keyFunc       func(context.Context) (string, error)
	plaintext     bool
	onEvent       func(Event)
	logger        *slog.Logger
	timing        Timing
	// empty has the options that were given nothing: that of an unset variable is to be noticed.
	empty []string

	address string
	isTLS   bool
}

// Apps names the apps to hold tokens of: 1 to 10,000 ids, each 1 to 64 characters of A-Z, a-z, 0-9, "-" and "_". Required.
func Apps(apps ...string) Option { return func(o *options) { o.apps = append(o.apps, apps...) } }

// StartTimeout is how long New waits for a token of every app, above 0: 10 seconds without it, and never longer than its context lives (rule R4).
func StartTimeout(timeout time.Duration) Option { return func(o *options) { o.startTimeout = timeout } }

// StartOptional has New return at once, whatever the broker does; reads return a NoTokenError until a token is here (rule R4).
func StartOptional() Option { return func(o *options) { o.startOptional = true } }

// CA is the path of a PEM file of who signs the broker's certificate, read at each attempt to connect. Without it the system's CAs are trusted.
// With it a target without a scheme means TLS, of 1.2 or later (rule R18).
func CA(path string) Option { return func(o *options) { o.ca = o.filled("CA", path) } }

// Certificate is the client's certificate and its private key: paths of PEM files, read at each attempt to connect. With it a target without a
// scheme means TLS.
func Certificate(cert, key string) Option {
	return func(o *options) { o.cert, o.certKey = o.filled("Certificate", cert), o.filled("Certificate", key) }
}

// Key is an access key, as it was printed when it was made, or another bearer token: characters of ASCII without spaces. One of Key, KeyFile and
// KeyFunc may be given.
func Key(key string) Option { return func(o *options) { o.key = o.filled("Key", key) } }

// KeyFile is the path of a file with the key, read at each attempt to connect, so that a rotated one is taken up (rule R18). One that
// cannot be read is a failure as a refused key is (rule R9).
func KeyFile(path string) Option { return func(o *options) { o.keyFile = o.filled("KeyFile", path) } }

// KeyFunc gives the key, asked at each attempt to connect. Its context ends with the attempt, which does not wait for it any longer. An error is a failure as a refused key is (rule R9).
func KeyFunc(key func(context.Context) (string, error)) Option {
	return func(o *options) { o.keyFunc = key; o.given("KeyFunc", key != nil) }
}

// Plaintext lets a key go to another machine without TLS. Without it a key goes to loopback only, and New refuses any other target.
func Plaintext() Option { return func(o *options) { o.plaintext = true } }

// OnEvent is told of what happens, one event at a time and in order, never of a token's value (rule R17). It may use the client, and must not
// block: a Close in it is begun by go. What it panics with is logged, and swallowed.
func OnEvent(observe func(Event)) Option {
	return func(o *options) { o.onEvent = observe; o.given("OnEvent", observe != nil) }
}

// Logger is where the client logs; slog.Default without it. It tells of a lost and a regained stream, of the third failure in a row and then
// of every tenth, and of what somebody must mend (rule R17).
func Logger(logger *slog.Logger) Option {
	return func(o *options) { o.logger = logger; o.given("Logger", logger != nil) }
}

// WithTiming sets the client's clocks, those that are not 0: for tests.
func WithTiming(timing Timing) Option { return func(o *options) { o.timing = timing.or(o.timing) } }

// Timing has the clocks of a client; one that is 0 has its default, which is named here. They are for tests: an operator has no need of them.
type Timing struct {
	// Silence is how long a stream may say nothing: 25 s, from the attempt's start and between messages (rule R6).
	Silence time.Duration
	// Connect is how long a connection with its TLS handshake may take: 5 s (rule R6).
	Connect time.Duration
	// Call is how long a unary call may take: 10 s.
	Call time.Duration
	// BackoffBase, BackoffCap and BackoffFloor bound the pauses between streams that fail: 500 ms doubled up to 10 s, at least 100 ms (rule R5).
	BackoffBase, BackoffCap, BackoffFloor time.Duration
	// Life is how long a stream lives since its first message to have been a good one: 10 s (rule R5).
	Life time.Duration
	// GoawayCap is the longest pause that a goaway may ask for: 1 minute (rule R7).
	GoawayCap time.Duration
	// RetryCap is the longest time that RetryInfo may ask for: 5 minutes (rules R8 and R11).
	RetryCap time.Duration
	// Slow and SlowCap bound the pauses after what somebody must mend: 30 s doubled up to 5 minutes (rule R9).
	Slow, SlowCap time.Duration
	// AppRetry is how often an app that the broker does not know is asked for: every minute (rule R10).
	AppRetry time.Duration
}

var defaultTiming = Timing{
	Silence: 25 * time.Second, Connect: 5 * time.Second, Call: 10 * time.Second,
	BackoffBase: 500 * time.Millisecond, BackoffCap: 10 * time.Second, BackoffFloor: 100 * time.Millisecond,
	Life: 10 * time.Second, GoawayCap: time.Minute, RetryCap: 5 * time.Minute,
	Slow: 30 * time.Second, SlowCap: 5 * time.Minute, AppRetry: time.Minute,
}

func (t Timing) or(other Timing) Timing {
	for _, pair := range [][2]*time.Duration{
		{&t.Silence, &other.Silence}, {&t.Connect, &other.Connect}, {&t.Call, &other.Call},
		{&t.BackoffBase, &other.BackoffBase}, {&t.BackoffCap, &other.BackoffCap}, {&t.BackoffFloor, &other.BackoffFloor},
		{&t.Life, &other.Life}, {&t.GoawayCap, &other.GoawayCap}, {&t.RetryCap, &other.RetryCap},
		{&t.Slow, &other.Slow}, {&t.SlowCap, &other.SlowCap}, {&t.AppRetry, &other.AppRetry},
	} {
		if *pair[0] == 0 {
			*pair[0] = *pair[1]
		}
	}
	return t
}

var (
	appID     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	hostShape = regexp.MustCompile(`^[^\s/@?#]+$`)
	keyShape  = regexp.MustCompile(`^[\x21-\x7e]+$`)
)

func (o *options) filled(name, value string) string {
	if value == "" {
		o.empty = append(o.empty, name+" is empty")
	}
	return value
}

func (o *options) given(name string, isGiven bool) {
	if !isGiven {
		o.empty = append(o.empty, name+" is nil")
	}
}

// configure looks at a target and options.
func configure(target string, given []Option) (*options, error) {
	o := &options{startTimeout: 10 * time.Second, timing: defaultTiming, onEvent: func(Event) {}, logger: slog.Default()}
	for _, option := range given {
		option(o)
	}
	scheme, address, found := strings.Cut(target, "://")
	if !found {
		scheme, address = "", target
	}
	o.address = strings.TrimSuffix(address, "/")
	o.isTLS = scheme == "https" || scheme == "" && (o.ca != "" || o.cert != "")
	host, port, err := net.SplitHostPort(o.address)
	if number, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil || number == 0 || !hostShape.MatchString(host) || scheme != "" && scheme != "http" && scheme != "https" {
		return nil, misconfigured("target %s is no address: write HOST:PORT, http://HOST:PORT or https://HOST:PORT", target)
	}
	if len(o.apps) < 1 || len(o.apps) > 10_000 {
		return nil, misconfigured("Apps has %d ids: name 1 to 10000", len(o.apps))
	}
	for _, app := range o.apps {
		if !appID.MatchString(app) {
			return nil, misconfigured("Apps has %q: an app id has 1 to 64 characters of A-Z, a-z, 0-9, - and _", app)
		}
	}
	if len(o.empty) > 0 {
		return nil, misconfigured("%s: give it a value, or leave it out", o.empty[0])
	}
	if o.key != "" && !keyShape.MatchString(o.key) {
		return nil, misconfigured("Key has characters that a key does not have: give it what was printed when the key was made")
	}
	keys := 0
	for _, isGiven := range []bool{o.key != "", o.keyFile != "", o.keyFunc != nil} {
		if isGiven {
			keys++
		}
	}
	if keys > 1 {
		return nil, misconfigured("Key, KeyFile and KeyFunc are given together: give one of them")
	}
	if !o.isTLS && (o.ca != "" || o.cert != "") {
		return nil, misconfigured("CA or Certificate is given, but %s is without TLS: write https://%s", target, o.address)
	}
	if keys > 0 && !o.isTLS && !o.plaintext && !isLoopback(host) {
		return nil, misconfigured("the key would go to %s unencrypted: write https://%s, or give Plaintext where nobody can listen in between",
			o.address, o.address)
	}
	if o.startTimeout <= 0 {
		return nil, misconfigured("StartTimeout is %v: give a time above 0", o.startTimeout)
	}
	return o, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// bearer reads the key anew; empty where there is none.
func (o *options) bearer(ctx context.Context) (string, error) {
	key, err := o.key, error(nil)
	switch {
	case o.keyFile != "":
		var text []byte
		text, err = os.ReadFile(o.keyFile)
		key = strings.TrimSpace(string(text))
	case o.keyFunc != nil:
		key, err = o.ask(ctx)
	case o.key == "":
		return "", nil
	}
	if err == nil && !keyShape.MatchString(key) {
		err = errors.New("it is empty, or has characters that a key does not have")
		if o.keyFile != "" {
			err = fmt.Errorf("%s is empty, or has characters that a key does not have", o.keyFile)
		}
	}
	if err != nil {
		return "", unreadable("the key", err)
	}
	return key, nil
}

// ask asks the user's function for the key, for no longer than ctx lives, also where the function does not heed it.
func (o *options) ask(ctx context.Context) (string, error) {
	type answer struct {
		key string
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		got := answer{err: errors.New("KeyFunc: it ended its goroutine")}
		defer func() {
			switch panicked := recover().(type) {
			case nil:
			case runtime.Error:
				got.err = fmt.Errorf("KeyFunc: it panicked: %w", panicked)
			default: // which may be the key
				got.err = fmt.Errorf("KeyFunc: it panicked with a %T", panicked)
			}
			answered <- got
		}()
		got.key, got.err = o.keyFunc(ctx)
	}()
	select {
	case got := <-answered:
		return got.key, got.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// credentials reads the certificates anew.
func (o *options) credentials() (credentials.TransportCredentials, error) {
	if !o.isTLS {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.ca != "" {
		text, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, unreadable("the CA", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, unreadable("the CA", errors.New(o.ca+" has no certificate in PEM"))
		}
	}
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.certKey)
		if err != nil {
			return nil, unreadable("the certificate", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}
