// The driver of github.com/silenceper/wechat: JSON lines, as serve.mjs has them.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"

	"github.com/silenceper/wechat/v2"
	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/credential"
	"github.com/silenceper/wechat/v2/officialaccount"
	"github.com/silenceper/wechat/v2/officialaccount/config"
	"github.com/silenceper/wechat/v2/officialaccount/message"
)

var (
	gateway = os.Getenv("GATEWAY")
	appID   = os.Getenv("APP_ID")
	key     = os.Getenv("KEY")
)

// docs/gateway.md: silenceper/wechat
type toGateway struct{ base *url.URL }

func (t toGateway) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Host == "api.weixin.qq.com" {
		request = request.Clone(request.Context())
		request.URL.Scheme, request.URL.Host, request.Host = t.base.Scheme, t.base.Host, ""
	}
	return http.DefaultTransport.RoundTrip(request)
}

func newAccount() (*officialaccount.OfficialAccount, error) {
	base, err := url.Parse(gateway)
	if err != nil {
		return nil, err
	}
	wc := wechat.NewWechat()
	wc.SetHTTPClient(&http.Client{Transport: toGateway{base}})
	return wc.GetOfficialAccount(&config.Config{AppID: appID, AppSecret: key, Cache: cache.NewMemory()}), nil
}

// docs/gateway.md: end

func digest(bytes []byte) string {
	sum := sha256.Sum256(bytes)
	return hex.EncodeToString(sum[:])
}

// download is left to the caller by the SDK, which says where the file is; it takes the client that the SDK was given.
func download(account *officialaccount.OfficialAccount, mediaID string, client *http.Client) (string, error) {
	where, err := account.GetMaterial().GetMediaURL(mediaID)
	if err != nil {
		return "", err
	}
	response, err := client.Get(where)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	bytes, err := io.ReadAll(response.Body)
	return digest(bytes), err
}

func main() {
	account, err := newAccount()
	if err != nil {
		panic(err)
	}
	base, _ := url.Parse(gateway)
	client := &http.Client{Transport: toGateway{base}}
	tickets := credential.NewDefaultJsTicket(appID, credential.CacheKeyOfficialAccountPrefix, cache.NewMemory())
	sdk := map[string]func(string) (string, error){
		"token": func(string) (string, error) {
			token, err := account.GetContext().GetAccessToken()
			return digest([]byte(token)), err
		},
		"message": func(to string) (string, error) {
			data := map[string]*message.TemplateDataItem{"first": {Value: "hello"}}
			id, err := account.GetTemplate().Send(&message.TemplateMessage{ToUser: to, TemplateID: "T1", Data: data})
			return fmt.Sprint(id), err
		},
		"ticket": func(string) (string, error) {
			token, err := account.GetContext().GetAccessToken()
			if err != nil {
				return "", err
			}
			ticket, err := tickets.GetTicket(token)
			return digest([]byte(ticket)), err
		},
		"upload": func(path string) (string, error) {
			media, err := account.GetMaterial().MediaUpload("image", path)
			return media.MediaID, err
		},
		"elsewhere": func(string) (string, error) {
			_, err := account.GetDataCube().GetUserSummary("2026-01-01", "2026-01-02")
			return "", err
		},
		"download": func(mediaID string) (string, error) { return download(account, mediaID, client) },
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		order := struct {
			Op    string
			Arg   string
			Times int
		}{Times: 1}
		if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
			panic(err)
		}
		answer := struct {
			Event    string   `json:"event"`
			Results  []string `json:"results"`
			Failures []string `json:"failures"`
		}{"done", []string{}, []string{}}
		var calls sync.WaitGroup
		var lock sync.Mutex
		for range order.Times {
			calls.Go(func() {
				result, err := sdk[order.Op](order.Arg)
				lock.Lock()
				defer lock.Unlock()
				if err != nil {
					answer.Failures = append(answer.Failures, err.Error())
				} else {
					answer.Results = append(answer.Results, result)
				}
			})
		}
		calls.Wait()
		line, err := json.Marshal(answer)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(line))
	}
}
