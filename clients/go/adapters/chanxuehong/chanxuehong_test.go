package chanxuehong

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	lingpai "lingpai.example/clients/go"
	"lingpai.example/clients/go/internal/adaptertest"
	"lingpai.example/clients/go/lingpaitest"

	"github.com/chanxuehong/wechat/mp/core"
	"github.com/chanxuehong/wechat/mp/media"
	"github.com/chanxuehong/wechat/mp/message/template"
)

func TestAnOfficialAccount(t *testing.T) {
	adaptertest.Play(t, func(_ *testing.T, source *lingpai.Source, toWeChat http.RoundTripper) adaptertest.SDK {
		client := NewClient(source, &http.Client{Transport: toWeChat})
		return adaptertest.SDK{
			Send: func(to string) error {
				_, err := template.Send(client, &template.TemplateMessage{ToUser: to, TemplateId: "T1", Data: json.RawMessage(`{}`)})
				var theirs *core.Error
				if err != nil && !errors.As(err, &theirs) {
					t.Errorf("not an error of the SDK's: %v", err)
				}
				return err
			},
			Upload: func(content []byte) error {
				_, err := media.UploadImageFromReader(client, "photo.jpg", bytes.NewReader(content))
				return err
			},
		}
	})
}

func TestWithoutATokenTheSDKSaysWhy(t *testing.T) {
	client := NewClient(lingpaitest.Source(adaptertest.App), nil)
	_, err := template.Send(client, &template.TemplateMessage{})
	var none *lingpai.NoTokenError
	if !errors.As(err, &none) || none.Reason != lingpai.Pending {
		t.Errorf("%v", err)
	}
}
