package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// broker is where the broker is, and what this service shows it. Files are read at each connect: certificates are
// renewed, keys rotated, and Kubernetes replaces a projected token every hour.
type broker struct {
	addr      string // HOST:PORT
	tls       bool
	ca        string // file: who signs the broker's certificate; empty: those that the system trusts
	cert, key string // files: a client certificate and its private key
	bearer    string // the key, or token, that is shown with each call
	bearerIn  string // a file that holds it instead
	plaintext bool   // a key may leave this machine without TLS
}

var schemes = regexp.MustCompile(`^(?:(https?)://)?([^/]+)/?$`)

// brokerAt reads the environment. addr is HOST:PORT, https://HOST:PORT or http://HOST:PORT.
func brokerAt(addr string) (broker, error) {
	parts := schemes.FindStringSubmatch(addr)
	if parts == nil {
		return broker{}, fmt.Errorf("%q is no address: write HOST:PORT or https://HOST:PORT", addr)
	}
	b := broker{
		addr: parts[2], ca: os.Getenv("LINGPAI_CA"),
		cert: os.Getenv("LINGPAI_CERT"), key: os.Getenv("LINGPAI_CERT_KEY"),
		bearer: os.Getenv("LINGPAI_KEY"), bearerIn: os.Getenv("LINGPAI_KEY_FILE"),
		plaintext: os.Getenv("LINGPAI_PLAINTEXT") == "1",
	}
	b.tls = parts[1] == "https" || parts[1] == "" && (b.ca != "" || b.cert != "")
	switch {
	case b.bearer != "" && b.bearerIn != "":
		return b, fmt.Errorf("LINGPAI_KEY and LINGPAI_KEY_FILE are both set: unset one of them")
	case (b.cert == "") != (b.key == ""):
		return b, fmt.Errorf("LINGPAI_CERT and LINGPAI_CERT_KEY belong together: set both")
	case (b.bearer != "" || b.bearerIn != "") && !b.mayShow():
		return b, fmt.Errorf("the key would go to %s unencrypted: write https://%s, or set LINGPAI_PLAINTEXT=1 where nobody can listen in between", b.addr, b.addr)
	}
	return b, nil
}

// dial makes a new connection.
func (b broker) dial() (*grpc.ClientConn, error) {
	transport, err := b.transport()
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error()) // as slow to be tried again as what the broker refuses
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}),
		grpc.WithNoProxy(), // the broker is an internal address: HTTPS_PROXY is for others
	}
	shown, err := b.readBearer()
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	if shown != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer{shown, !b.mayShow()}))
	}
	return grpc.NewClient(b.addr, options...)
}

func (b broker) transport() (credentials.TransportCredentials, error) {
	if !b.tls {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if b.ca != "" {
		text, err := os.ReadFile(b.ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("LINGPAI_CA %s holds no certificate in PEM", b.ca)
		}
	}
	if b.cert != "" {
		pair, err := tls.LoadX509KeyPair(b.cert, b.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}

func (b broker) readBearer() (string, error) {
	if b.bearerIn == "" {
		return b.bearer, nil
	}
	text, err := os.ReadFile(b.bearerIn)
	if err != nil {
		return "", err
	}
	shown := strings.TrimSpace(string(text))
	if shown == "" {
		return "", fmt.Errorf("LINGPAI_KEY_FILE %s is empty", b.bearerIn)
	}
	return shown, nil
}

// mayShow tells whether a key may go there: by TLS, to this machine, or because it was told so.
func (b broker) mayShow() bool { return b.tls || b.plaintext || isLoopback(b.addr) }

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// bearer shows a key with each call. grpc makes no connection without TLS where the key must not go by such a one; to
// put it into the metadata of a call instead would send it on any.
type bearer struct {
	key      string
	needsTLS bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.key}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.needsTLS }
