package lingpai

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"

	"lingpai.example/clients/go/internal/opening"
)

// lentMax is for how many of an app's newest tokens a refusal is understood.
const lentMax = 8

// lent is a token that this source has handed out.
type lent struct {
	sum        [sha256.Size]byte
	generation uint64
}

// Transport sends the requests of an http.Client by base, or by http.DefaultTransport where it is nil, and does for them what Do does for a
// function: where WeChat refuses the access_token of the URL (errcode 40001, 40014, 42001) the token is reported, and the request sent
// once more with the newer one; where none came, WeChat's refusal is the answer. It is for SDKs that put the token into the URL
// themselves. Requests with another token, or none, are base's alone: the clients of several apps may be made on one another. Of several of
// this source's in a chain the first sees to a request; a base that is seen to have one is returned as it is.
//
// A request whose body cannot be read again (http.Request.GetBody is nil, as for a file) is not sent again: its refusal is the answer, and the
// next request has the newer token. An answer is returned once it is known to be none: it has status 200, and is a JSON object of at
// most 4,096 bytes. One in gzip is not understood: an SDK must leave Accept-Encoding to net/http, which asks for gzip and takes it off.
func (s *Source) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	for at, isOurs := base.(*transport); isOurs; at, isOurs = at.base.(*transport) {
		if at.source == s {
			return base
		}
	}
	return &transport{s, base}
}

type transport struct {
	source *Source
	base   http.RoundTripper
}

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Context().Value(t.source) != nil {
		return t.base.RoundTrip(request) // one before it, in this chain, sees to it
	}
	used := t.source.lent(request.URL.Query().Get("access_token"))
	if used != nil {
		request = request.WithContext(context.WithValue(request.Context(), t.source, true))
	}
	response, err := t.base.RoundTrip(request)
	if err != nil || used == nil || !isRefusal(response) {
		return response, err
	}
	newest := t.source.after(request.Context(), used)
	if newest == nil {
		return response, nil
	}
	again, err := repeated(request, newest.Value)
	if again == nil || err != nil {
		return response, nil
	}
	_ = response.Body.Close()
	return t.base.RoundTrip(again)
}

// CloseIdleConnections closes those of the base.
func (t *transport) CloseIdleConnections() {
	(&http.Client{Transport: t.base}).CloseIdleConnections()
}

// lent is the token of this value, if it is one of the newest that this source has held, or nil.
func (s *Source) lent(value string) *Token {
	sum := sha256.Sum256([]byte(value))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, each := range s.lentOut {
		if each.sum == sum {
			return &Token{Value: value, Generation: each.generation}
		}
	}
	return nil
}

// lend remembers a token, without its value. The source is locked.
func (s *Source) lend(token *Token) {
	s.lentOut = append(s.lentOut, lent{sha256.Sum256([]byte(token.Value)), token.Generation})
	s.lentOut = s.lentOut[max(0, len(s.lentOut)-lentMax):]
}

// isRefusal says whether WeChat refused the access_token. The answer can be read as before.
func isRefusal(response *http.Response) bool {
	var answer struct {
		Errcode int `json:"errcode"`
	}
	isRejected := func() bool { return Rejected(answer.Errcode) != nil }
	return response.StatusCode == http.StatusOK && opening.Object(response, &answer, isRejected)
}

// repeated is a request with another token, or nil where its body cannot be read again.
func repeated(request *http.Request, value string) (*http.Request, error) {
	again := request.Clone(request.Context())
	if request.Body != nil && request.Body != http.NoBody {
		if request.GetBody == nil {
			return nil, nil
		}
		body, err := request.GetBody()
		if err != nil {
			return nil, err
		}
		again.Body = body
	}
	// By hand: url.Values would put the parameters into another order.
	parts := strings.Split(again.URL.RawQuery, "&")
	for i, part := range parts {
		if name, _, _ := strings.Cut(part, "="); name == "access_token" {
			parts[i] = name + "=" + url.QueryEscape(value)
		}
	}
	again.URL.RawQuery = strings.Join(parts, "&")
	return again, nil
}
