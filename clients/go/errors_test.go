package lingpai

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestR9WhatSomebodyMustMend(t *testing.T) {
	handshake := "connection error: desc = \"transport: authentication handshake failed: "
	for _, test := range []struct {
		code  codes.Code
		words string
		want  bool
	}{
		{codes.Unauthenticated, "", true},
		{codes.PermissionDenied, "", true},
		{codes.Unimplemented, "", true},
		{codes.Unavailable, handshake + "tls: failed to verify certificate: x509: certificate signed by unknown authority\"", true},
		{codes.Unavailable, handshake + "tls: first record does not look like a TLS handshake\"", true},
		{codes.Unavailable, "error reading server preface: remote error: tls: certificate required", true},
		{codes.Unavailable, handshake + "EOF\"", false},
		{codes.Unavailable, handshake + "read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer\"", false},
		{codes.Unavailable, "connection refused", false},
		{codes.ResourceExhausted, "", false},
		{codes.NotFound, "", false},
		{codes.DeadlineExceeded, "", false},
	} {
		if got := explain(status.Error(test.code, test.words)); got.NeedsOperator != test.want {
			t.Errorf("%v: %v", got, got.NeedsOperator)
		}
	}
}

func TestR9ACredentialThatCannotBeReadSaysWhichAndWhy(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for words, options := range map[string][]Option{
		"the key cannot be read: open nowhere":         {KeyFile("nowhere")},
		"the key cannot be read: " + empty:             {KeyFile(empty)},
		"the CA cannot be read: open nowhere":          {CA("nowhere")},
		"the CA cannot be read: " + empty:              {CA(empty)},
		"the certificate cannot be read: open nowhere": {Certificate("nowhere", "nowhere")},
	} {
		o, err := configure("https://127.0.0.1:7600", append(options, Apps("wx1")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = o.bearer(t.Context()); err == nil {
			_, err = o.credentials()
		}
		if failed := explain(err); !failed.NeedsOperator || !strings.Contains(failed.Error(), words) {
			t.Errorf("%v, want %q", failed, words)
		}
	}
}

func TestAMistakeInTheTargetIsSaid(t *testing.T) {
	for words, want := range map[string]string{
		`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`:                                             "lingpai: UNAVAILABLE: dial tcp 127.0.0.1:1: connect: connection refused",
		"error reading server preface: http2: failed reading the frame payload: http2: frame too large, note that the frame header looked like an HTTP/1.1 header": "gRPC port, 7600",
		`connection error: desc = "transport: authentication handshake failed: tls: first record does not look like a TLS handshake"`:                              "write http:// before the target",
		"the broker's own words": "lingpai: UNAVAILABLE: the broker's own words",
	} {
		if got := explain(status.Error(codes.Unavailable, words)).Error(); !strings.Contains(got, want) {
			t.Errorf("%s, want %q", got, want)
		}
	}
}

func TestAStartThatWasLateNamesAFewOfManyApps(t *testing.T) {
	late := &StartTimeoutError{Apps: strings.Split(strings.Repeat("wx1,", 9_999)+"wx1", ",")}
	if words := late.Error(); len(words) > 200 || !strings.Contains(words, "and 9990 more") {
		t.Error(words)
	}
}
