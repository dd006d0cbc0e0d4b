package silenceper

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	lingpai "lingpai.example/clients/go"
	"lingpai.example/clients/go/internal/adaptertest"
	"lingpai.example/clients/go/lingpaitest"

	"github.com/silenceper/wechat/v2"
	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/credential"
	miniprogram "github.com/silenceper/wechat/v2/miniprogram/config"
	"github.com/silenceper/wechat/v2/miniprogram/subscribe"
	"github.com/silenceper/wechat/v2/officialaccount/config"
	"github.com/silenceper/wechat/v2/officialaccount/material"
	"github.com/silenceper/wechat/v2/officialaccount/message"
	"github.com/silenceper/wechat/v2/util"
)

func TestAnOfficialAccount(t *testing.T) {
	adaptertest.Play(t, func(t *testing.T, source *lingpai.Source, toWeChat http.RoundTripper) adaptertest.SDK {
		sdk := wechat.NewWechat()
		sdk.SetHTTPClient(&http.Client{Transport: toWeChat})
		account := sdk.GetOfficialAccount(&config.Config{AppID: adaptertest.App, Cache: cache.NewMemory()})
		Use(account, source)
		template, files := account.GetTemplate(), account.GetMaterial()
		return adaptertest.SDK{
			Send: func(to string) error {
				data := map[string]*message.TemplateDataItem{"first": {Value: "hello"}}
				_, err := template.Send(&message.TemplateMessage{ToUser: to, TemplateID: "T1", Data: data})
				return err
			},
			Upload: func(content []byte) error { return upload(t, files, content) },
		}
	})
}

func TestAMiniProgram(t *testing.T) {
	adaptertest.Play(t, func(t *testing.T, source *lingpai.Source, toWeChat http.RoundTripper) adaptertest.SDK {
		sdk := wechat.NewWechat()
		sdk.SetHTTPClient(&http.Client{Transport: toWeChat})
		app := sdk.GetMiniProgram(&miniprogram.Config{AppID: adaptertest.App, Cache: cache.NewMemory()})
		Use(app, source)
		messages := app.GetSubscribe()
		account := sdk.GetOfficialAccount(&config.Config{AppID: adaptertest.App, Cache: cache.NewMemory()})
		account.SetAccessTokenHandle(Handle(source))
		files := account.GetMaterial()
		return adaptertest.SDK{
			Send:   func(to string) error { return messages.Send(&subscribe.Message{ToUser: to, TemplateID: "T1"}) },
			Upload: func(content []byte) error { return upload(t, files, content) },
		}
	})
}

func TestUseOfAnAccountManyTimesReportsOnce(t *testing.T) {
	sdk := wechat.NewWechat()
	asked := 0
	sdk.SetHTTPClient(&http.Client{Transport: refusing{&asked}})
	source := lingpaitest.Source(adaptertest.App, "V1", "V2", "V3", "V4", "V5")
	var users sync.WaitGroup
	for range 10 { // a service that makes an account for each request
		users.Add(1)
		go func() {
			defer users.Done()
			Use(sdk.GetOfficialAccount(&config.Config{AppID: adaptertest.App, Cache: cache.NewMemory()}), source)
		}()
	}
	users.Wait()
	_, _ = util.HTTPGet("https://api.weixin.qq.com/cgi-bin/menu/get?access_token=V1")
	if token, err := source.Token(); asked != 2 || err != nil || token.Generation != 2 {
		t.Errorf("WeChat was asked %d times, and %v is held", asked, token)
	}
}

// refusing refuses every token.
type refusing struct{ asked *int }

func (r refusing) RoundTrip(*http.Request) (*http.Response, error) {
	*r.asked++
	body := io.NopCloser(strings.NewReader(`{"errcode":40001,"errmsg":"refused"}`))
	return &http.Response{StatusCode: http.StatusOK, ContentLength: -1, Body: body}, nil
}

func upload(t *testing.T, files *material.Material, content []byte) error {
	path := filepath.Join(t.TempDir(), "photo.jpg")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := files.MediaUpload(material.MediaTypeImage, path)
	return err
}

func TestWithoutATokenTheSDKSaysWhy(t *testing.T) {
	var none *lingpai.NoTokenError
	if _, err := Handle(lingpaitest.Source(adaptertest.App)).GetAccessTokenContext(t.Context()); !errors.As(err, &none) {
		t.Errorf("%v", err)
	}
	var _ credential.AccessTokenHandle = Handle(nil)
}
