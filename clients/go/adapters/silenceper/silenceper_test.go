package silenceper

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
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
