package lingpai_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lingpai "lingpai.example/clients/go"
	"lingpai.example/clients/go/lingpaitest"
)

// weChat answers with what was sent to it, and refuses all tokens but those of a list.
type weChat struct {
	*httptest.Server
	mu      sync.Mutex
	good    string
	errcode int
	asked   []string
}

func newWeChat(t *testing.T, good string) *weChat {
	t.Helper()
	w := &weChat{good: good, errcode: 40001}
	w.Server = httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked = append(w.asked, request.URL.RawQuery)
		if request.URL.Query().Get("access_token") != w.good {
			fmt.Fprintf(answer, `{"errcode":%d,"errmsg":"refused"}`, w.errcode)
			return
		}
		fmt.Fprintf(answer, "%s %s", request.Method, body)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *weChat) send(t *testing.T, client *http.Client, query string, body io.Reader) string {
	t.Helper()
	response, err := client.Post(w.URL+"/send?"+query, "text/plain", body)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTransportMendsARefusedTokenOfAURL(t *testing.T) {
	for _, errcode := range []int{40001, 40014, 42001} {
		wechat := newWeChat(t, "NEW&=")
		wechat.errcode = errcode
		client := &http.Client{Transport: lingpaitest.Source("wx1", "OLD", "NEW&=").Transport(nil)}
		if got := wechat.send(t, client, "a=1&access_token=OLD&b=2", strings.NewReader("text")); got != "POST text" {
			t.Errorf("%d: %s", errcode, got)
		}
		if want := "[a=1&access_token=OLD&b=2 a=1&access_token=NEW%26%3D&b=2]"; fmt.Sprint(wechat.asked) != want {
			t.Errorf("%d: WeChat was asked %v", errcode, wechat.asked)
		}
		// A caller that took the token before it was replaced.
		if got := wechat.send(t, client, "access_token=OLD", strings.NewReader("late")); got != "POST late" {
			t.Errorf("%d: %s", errcode, got)
		}
	}
}

func TestTransportHandsOnWhatItCannotMend(t *testing.T) {
	const refusal = `{"errcode":40001,"errmsg":"refused"}`
	for name, test := range map[string]struct {
		source *lingpai.Source
		query  string
		body   io.Reader
		asked  int
	}{
		"STILL_VALID":              {lingpaitest.Source("wx1", "OLD"), "access_token=OLD", strings.NewReader("text"), 1},
		"refused again":            {lingpaitest.Source("wx1", "OLD", "BAD"), "access_token=OLD", strings.NewReader("text"), 2},
		"a token of another":       {lingpaitest.Source("wx1", "OLD", "NEW"), "access_token=OTHER", strings.NewReader("text"), 1},
		"no token":                 {lingpaitest.Source("wx1", "OLD", "NEW"), "", strings.NewReader("text"), 1},
		"a body that is read once": {lingpaitest.Source("wx1", "OLD", "NEW"), "access_token=OLD", io.MultiReader(strings.NewReader("text")), 1},
	} {
		wechat := newWeChat(t, "NEW")
		client := &http.Client{Transport: test.source.Transport(nil)}
		if got := wechat.send(t, client, test.query, test.body); got != refusal || len(wechat.asked) != test.asked {
			t.Errorf("%s: %s, and WeChat was asked %d times", name, got, len(wechat.asked))
		}
		if name == "a body that is read once" {
			if token, err := test.source.Token(); err != nil || token.Value != "NEW" {
				t.Errorf("the next has the newer token: %v", err)
			}
		}
	}
}

// answers is a base that answers with a body.
type answers struct {
	body   io.Reader
	header http.Header
}

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	response := &http.Response{StatusCode: http.StatusOK, ContentLength: -1, Header: a.header}
	if a.body != nil {
		response.Body = io.NopCloser(a.body)
	}
	return response, nil
}

func TestTransportHandsOnAnyBodyWhole(t *testing.T) {
	broken := errors.New("the connection broke")
	for _, length := range []int{0, 10, 4095, 4096, 4097, 100_000} {
		for _, end := range []error{nil, broken} {
			text := bytes.Repeat([]byte("x"), length)
			body := io.Reader(bytes.NewReader(text))
			if end != nil {
				body = io.MultiReader(body, &failure{end})
			}
			client := &http.Client{Transport: lingpaitest.Source("wx1", "OLD").Transport(answers{body: body})}
			response, err := client.Get("http://wechat/file?access_token=OLD")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(response.Body); !bytes.Equal(got, text) || !errors.Is(err, end) {
				t.Errorf("%d bytes came as %d, %v", length, len(got), err)
			}
		}
	}
}

type failure struct{ err error }

func (f *failure) Read([]byte) (int, error) { return 0, f.err }

func TestTransportsOfTwoAppsMayBeMadeOnOneAnother(t *testing.T) {
	wechat := newWeChat(t, "NEW2")
	client := &http.Client{Transport: lingpaitest.Source("wx1", "OLD1", "NEW1").Transport(lingpaitest.Source("wx2", "OLD2", "NEW2").Transport(nil))}
	if got := wechat.send(t, client, "access_token=OLD2", strings.NewReader("text")); got != "POST text" {
		t.Error(got)
	}
	if got := wechat.send(t, client, "access_token=OLD1", strings.NewReader("text")); !strings.Contains(got, "40001") {
		t.Error(got)
	}
}

func TestTransportOfASourceIsInAChainOnce(t *testing.T) {
	wechat := newWeChat(t, "NEVER")
	source, other := lingpaitest.Source("wx1", "OLD", "NEW", "NEWER", "NEWEST"), lingpaitest.Source("wx2", "OTHER")
	var chain http.RoundTripper
	for range 4 {
		chain = source.Transport(other.Transport(chain))
	}
	chain = source.Transport(theirs{source.Transport(theirs{chain})}) // a wrapper of theirs hides it
	wechat.send(t, &http.Client{Transport: chain}, "access_token=OLD", strings.NewReader("text"))
	if token, err := source.Token(); len(wechat.asked) != 2 || err != nil || token.Generation != 2 {
		t.Errorf("WeChat was asked %v, and %v is held", wechat.asked, token)
	}
}

// theirs is a transport that wraps another.
type theirs struct{ http.RoundTripper }

// slowly gives its parts one at a read, and then says nothing.
type slowly struct{ parts []string }

func (s *slowly) Read(into []byte) (int, error) {
	if len(s.parts) == 0 {
		select {}
	}
	part := s.parts[0]
	s.parts = s.parts[1:]
	return copy(into, part), nil
}

func TestTransportDoesNotHoldBackWhatCannotBeARefusal(t *testing.T) {
	for _, parts := range [][]string{
		{"<html>"},
		{" \r\n", "\t", "[1,"},
		{`{"text":`, `"hello"}`},
		{"{", `"errcode":0}`},
		{"{not JSON"},
	} {
		body := &slowly{slices.Clone(parts)}
		client := &http.Client{Transport: lingpaitest.Source("wx1", "OLD").Transport(answers{body: body})}
		answered := make(chan string)
		go func() {
			response, err := client.Get("http://wechat/stream?access_token=OLD")
			if err != nil {
				answered <- err.Error()
				return
			}
			want := strings.Join(parts, "")
			got := make([]byte, len(want))
			_, _ = io.ReadFull(response.Body, got)
			answered <- string(got)
		}()
		select {
		case got := <-answered:
			if got != strings.Join(parts, "") {
				t.Errorf("%q came as %q", parts, got)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%q is held back", parts)
		}
	}
	events := answers{body: &slowly{}, header: http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}}
	answered := make(chan error, 1)
	go func() {
		_, err := (&http.Client{Transport: lingpaitest.Source("wx1", "OLD").Transport(events)}).Get("http://wechat/stream?access_token=OLD")
		answered <- err
	}()
	select {
	case err := <-answered:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("events that have not begun are held back")
	}
}

func TestTransportRefusalIsTheWholeAnswer(t *testing.T) {
	for text, isReported := range map[string]bool{
		" {\"errcode\": 40001}\n":                                               true,
		"{\"errcode\":40001} and more":                                          false,
		"{\"errcode\":40001}" + strings.Repeat(" ", 5_000):                      false,
		"{\"errcode\":40001,\"errmsg\":\"" + strings.Repeat("x", 5_000) + "\"}": false,
	} {
		source := lingpaitest.Source("wx1", "OLD", "NEW")
		client := &http.Client{Transport: source.Transport(answers{body: strings.NewReader(text)})}
		response, err := client.Get("http://wechat/send?access_token=OLD")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if token, _ := source.Token(); (token.Value == "NEW") != isReported {
			t.Errorf("%.40q: %v is held", text, token.Generation)
		}
	}
}

func TestTransportHandsOnAnAnswerWithoutABody(t *testing.T) {
	transport := lingpaitest.Source("wx1", "OLD").Transport(answers{})
	response, err := transport.RoundTrip(httptest.NewRequest(http.MethodGet, "http://wechat/send?access_token=OLD", nil))
	if err != nil || response.Body != nil {
		t.Errorf("%v, %v", response, err)
	}
}

func TestTransportHandsOnCloseIdleConnections(t *testing.T) {
	idle := &idling{}
	client := &http.Client{Transport: lingpaitest.Source("wx1", "OLD").Transport(idle)}
	client.CloseIdleConnections()
	if idle.closed != 1 {
		t.Errorf("%d times", idle.closed)
	}
}

type idling struct {
	answers
	closed int
}

func (i *idling) CloseIdleConnections() { i.closed++ }
