// Package adaptertest plays an SDK on its adapter against a fake broker and a fake WeChat.
package adaptertest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	lingpai "lingpai.example/clients/go"
	"lingpai.example/clients/go/lingpaitest"
)

// App is the app of the SDK.
const App = "wx00sdk00000000001"

// many is how many callers there are at once.
const many = 10

// SDK is what an SDK does on its adapter.
type SDK struct {
	// Send sends a message.
	Send func(to string) error
	// Upload uploads a file of some bytes.
	Upload func(content []byte) error
}

// weChat takes the tokens that the broker honours, and refuses any other by an errcode.
type weChat struct {
	broker  *lingpaitest.Broker
	errcode int

	mu sync.Mutex
	// isStuck has every token refused.
	isStuck bool
	asked   []string
	bodies  []string
	// gate has room for those that are to be here before the first is answered; nil: nobody waits.
	gate *sync.WaitGroup
}

func (w *weChat) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	w.mu.Lock()
	isGood := w.broker.Honours(App, request.URL.Query().Get("access_token")) && !w.isStuck
	w.asked = append(w.asked, request.URL.Path)
	w.bodies = append(w.bodies, string(body))
	gate := w.gate
	if isGood {
		gate = nil
	}
	w.mu.Unlock()
	if gate != nil {
		gate.Done()
		gate.Wait()
	}
	answer.Header().Set("Content-Type", "application/json")
	if !isGood {
		fmt.Fprintf(answer, `{"errcode":%d,"errmsg":"refused"}`, w.errcode)
		return
	}
	fmt.Fprint(answer, `{"errcode":0,"errmsg":"ok","msgid":1,"type":"image","media_id":"M1","created_at":1}`)
}

// count forgets what WeChat was asked, and says how much that was.
func (w *weChat) count(t *testing.T) int {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, path := range w.asked {
		if strings.HasSuffix(path, "/token") || strings.HasSuffix(path, "/stable_token") {
			t.Errorf("the SDK asked WeChat for a token: %s", path)
		}
	}
	asked := len(w.asked)
	w.asked, w.bodies = nil, nil
	return asked
}

// led leads what is for WeChat to the fake one.
type led struct{ to *url.URL }

func (l led) RoundTrip(request *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(request.URL.Host, "weixin.qq.com") {
		return nil, fmt.Errorf("a request to %s", request.URL.Host)
	}
	request = request.Clone(request.Context())
	request.URL.Scheme, request.URL.Host = l.to.Scheme, l.to.Host
	return http.DefaultTransport.RoundTrip(request)
}

// Play plays an SDK with each errcode by which WeChat refuses a token. make makes it, for a source, with a transport that leads to the fake WeChat.
func Play(t *testing.T, make func(t *testing.T, source *lingpai.Source, toWeChat http.RoundTripper) SDK) {
	for _, errcode := range []int{40001, 40014, 42001} {
		t.Run(fmt.Sprint(errcode), func(t *testing.T) {
			broker := lingpaitest.NewBroker(App)
			defer broker.Stop()
			client, err := lingpai.New(context.Background(), broker.Target, lingpai.Apps(App))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			fake := &weChat{broker: broker, errcode: errcode}
			server := httptest.NewServer(fake)
			defer server.Close()
			where, _ := url.Parse(server.URL)
			play(t, broker, fake, make(t, client.App(App), led{where}))
		})
	}
}

func play(t *testing.T, broker *lingpaitest.Broker, fake *weChat, sdk SDK) {
	if err := sdk.Send("oUser1"); err != nil || fake.count(t) != 1 {
		t.Fatalf("a message: %v", err)
	}

	broker.Kill(App)
	fake.gate = &sync.WaitGroup{}
	fake.gate.Add(many)
	var callers sync.WaitGroup
	for i := range many {
		callers.Add(1)
		go func() {
			defer callers.Done()
			if err := sdk.Send(fmt.Sprintf("oUser%d", i)); err != nil {
				t.Errorf("a caller with a dead token: %v", err)
			}
		}()
	}
	callers.Wait()
	fake.gate = nil
	if asked := fake.count(t); broker.Reports() != 1 || asked != 2*many {
		t.Errorf("%d callers made %d reports and %d calls of WeChat", many, broker.Reports(), asked)
	}

	broker.Kill(App)
	content := strings.Repeat("photo", 100_000)
	if err := sdk.Upload([]byte(content)); err != nil {
		t.Errorf("an upload with a dead token: %v", err)
	}
	for _, body := range fake.bodies {
		if !strings.Contains(body, content) {
			t.Errorf("an upload arrived with %d bytes", len(body))
		}
	}
	if asked := fake.count(t); broker.Reports() != 2 || asked != 2 {
		t.Errorf("it made %d reports and %d calls of WeChat", broker.Reports()-1, asked)
	}

	fake.isStuck = true
	refused := fmt.Sprint(fake.errcode)
	if err := sdk.Send("oUser1"); err == nil || !strings.Contains(err.Error(), refused) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("STILL_VALID: %v, want WeChat's error", err)
	}
	if asked := fake.count(t); broker.Reports() != 3 || asked != 1 {
		t.Errorf("STILL_VALID: %d reports and %d calls of WeChat", broker.Reports()-2, asked)
	}
	broker.Stop()
	if err := sdk.Send("oUser1"); err == nil || !strings.Contains(err.Error(), refused) || fake.count(t) != 1 {
		t.Errorf("without a broker: %v, want WeChat's error", err)
	}
	fake.isStuck = false
	if err := sdk.Send("oUser1"); err != nil || fake.count(t) != 1 {
		t.Errorf("without a broker the token is served: %v", err)
	}
}
