// Package chanxuehong gives github.com/chanxuehong/wechat/mp the tokens of a Lingpai broker. It has no AppSecret, and never asks WeChat for a
// token.
package chanxuehong

import (
	"net/http"
	"sync/atomic"

	lingpai "lingpai.example/clients/go"
	"lingpai.example/clients/go/internal/opening"

	"github.com/chanxuehong/wechat/mp/core"
	"github.com/chanxuehong/wechat/util"
)

// NewClient is a client of the SDK whose tokens are a source's. A token that WeChat refused (40001, 40014, 42001) is reported, and the request sent
// once more with the newer one; where none came, the error is WeChat's own, a *core.Error. base is nil for the SDK's client for
// media, which waits for up to a minute.
func NewClient(source *lingpai.Source, base *http.Client) *core.Client {
	if base == nil {
		base = util.DefaultMediaHttpClient
	}
	tokens := &server{source: source}
	client := *base
	client.Transport = &noting{tokens, source.Transport(base.Transport)}
	return core.NewClient(tokens, &client)
}

// server is the SDK's AccessTokenServer.
type server struct {
	source *lingpai.Source
	// refusal is what WeChat said last of a token that could not be replaced.
	refusal atomic.Pointer[core.Error]
}

var _ core.AccessTokenServer = (*server)(nil)

func (s *server) Token() (string, error) {
	token, err := s.source.Token()
	if err != nil {
		return "", err
	}
	return token.Value, nil
}

// RefreshToken is asked for after WeChat refused a token, and the source's transport has reported it.
func (s *server) RefreshToken(current string) (string, error) {
	if token, err := s.source.Token(); err == nil && token.Value != current {
		return token.Value, nil
	}
	if refusal := s.refusal.Load(); refusal != nil {
		return "", refusal
	}
	return "", lingpai.ErrRejected
}

// IID01332E16DF5011E5A9D5A4DB30FED8E1 is how the SDK knows the interface.
func (s *server) IID01332E16DF5011E5A9D5A4DB30FED8E1() {}

// noting notes what WeChat says of a refused token: the SDK forgets it before it asks for another.
type noting struct {
	tokens *server
	base   http.RoundTripper
}

func (n *noting) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := n.base.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	refusal := &core.Error{}
	if opening.Object(response, refusal, func() bool { return lingpai.Rejected(int(refusal.ErrCode)) != nil }) {
		n.tokens.refusal.Store(refusal)
	}
	return response, nil
}

// CloseIdleConnections closes those of the base.
func (n *noting) CloseIdleConnections() {
	(&http.Client{Transport: n.base}).CloseIdleConnections()
}
