// Package silenceper gives github.com/silenceper/wechat the tokens of a Lingpai broker. It has no AppSecret, and never asks WeChat for a token.
package silenceper

import (
	"context"
	"sync"

	lingpai "lingpai.example/clients/go"

	"github.com/silenceper/wechat/v2/credential"
	"github.com/silenceper/wechat/v2/util"
)

// Account is an OfficialAccount or a MiniProgram of the SDK.
type Account interface {
	SetAccessTokenHandle(credential.AccessTokenHandle)
}

// using is held while the SDK's client is replaced.
var using sync.Mutex

// Use has an account take its tokens from a source, and the SDK's requests report a token that WeChat refused and go out once more with the
// newer one, as lingpai.Source's Transport does. The SDK has one HTTP client for all accounts, util.DefaultHTTPClient: Use puts the
// source's transport before the one that is there, unless it is in it already. Call it for each account, before the first request and after
// SetHTTPClient.
func Use(account Account, source *lingpai.Source) {
	account.SetAccessTokenHandle(Handle(source))
	using.Lock()
	defer using.Unlock()
	client := *util.DefaultHTTPClient
	client.Transport = source.Transport(client.Transport)
	util.DefaultHTTPClient = &client
}

// Handle gives the tokens of a source, and is never told of a token that WeChat refused: Use does that too. The error is a
// lingpai.NoTokenError, or lingpai.ErrClosed.
func Handle(source *lingpai.Source) credential.AccessTokenContextHandle { return handle{source} }

type handle struct{ source *lingpai.Source }

func (h handle) GetAccessToken() (string, error) {
	token, err := h.source.Token()
	if err != nil {
		return "", err
	}
	return token.Value, nil
}

func (h handle) GetAccessTokenContext(context.Context) (string, error) { return h.GetAccessToken() }
