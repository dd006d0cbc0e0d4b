package lingpai

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const (
	// lentMax is for how many of an app's newest tokens a refusal is understood.
	lentMax = 8
	// refusalMax is the longest answer, in bytes, in which an errcode is looked for: one that has an errcode is short.
	refusalMax = 4096
)

// lent is a token that this source has handed out.
type lent struct {
	sum        [sha256.Size]byte
	generation uint64
}

// Transport sends the requests of an http.Client by base, or by http.DefaultTransport where it is nil, and does for them what Do does for a
// function: where WeChat refuses the access_token of the URL (errcode 40001, 40014, 42001) the token is reported, and the request sent
// once more with the newer one; where none came, WeChat's refusal is the answer. It is for SDKs that put the token into the URL
// themselves. Requests with another token, or none, are base's alone: the clients of several apps may be made on one another.
//
// A request whose body cannot be read again (http.Request.GetBody is nil, as for a file) is not sent again: its refusal is the answer, and the
// next request has the newer token. Of an answer up to 4,096 bytes are read before it is returned.
func (s *Source) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{s, base}
}

type transport struct {
	source *Source
	base   http.RoundTripper
}

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	used := t.source.lent(request.URL.Query().Get("access_token"))
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
	if response.StatusCode != http.StatusOK || response.ContentLength > refusalMax {
		return false
	}
	head, err := io.ReadAll(io.LimitReader(response.Body, refusalMax+1))
	rest := io.Reader(response.Body)
	if err != nil {
		rest = failing{err}
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), response.Body}
	var answer struct {
		Errcode int `json:"errcode"`
	}
	return len(head) <= refusalMax && json.Unmarshal(head, &answer) == nil && errors.Is(Rejected(answer.Errcode), ErrRejected)
}

// failing is a body that failed while it was read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

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
