package lingpaitest_test

import (
	"context"
	"errors"
	"fmt"

	lingpai "lingpai.example/clients/go"
	"lingpai.example/clients/go/lingpaitest"
)

// send is what a service under test does: a call of WeChat's with the token of a source.
func send(source *lingpai.Source, weChat func(token string) (errcode int)) error {
	return source.Do(context.Background(), func(_ context.Context, token string) error {
		return lingpai.Rejected(weChat(token))
	})
}

func ExampleSource() {
	source := lingpaitest.Source("wx1", "OLD", "NEW")
	err := send(source, func(token string) int {
		fmt.Println("called with", token)
		if token == "OLD" {
			return 42001 // reported, and called once more
		}
		return 0
	})
	fmt.Println(err)

	_, err = lingpaitest.Source("wx1").Token()
	fmt.Println(err)
	// Output:
	// called with OLD
	// called with NEW
	// <nil>
	// lingpai: no token of wx1: PENDING
}

func ExampleBroker() {
	broker := lingpaitest.NewBroker("wx1")
	defer broker.Stop()
	client, err := lingpai.New(context.Background(), broker.Target, lingpai.Apps("wx1"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	source := client.App("wx1")
	weChat := func(token string) int {
		if broker.Honours("wx1", token) {
			return 0
		}
		return 40001
	}

	broker.Kill("wx1")
	fmt.Println(send(source, weChat), broker.Reports())

	broker.Refuse(&lingpai.RPCError{Code: "RESOURCE_EXHAUSTED", Reason: "COOLDOWN"})
	broker.Kill("wx1")
	fmt.Println(errors.Is(send(source, weChat), lingpai.ErrRejected), broker.Reports())

	broker.Stop()
	token, err := source.Token() // served without a broker
	fmt.Println(token.Generation, err)
	// Output:
	// <nil> 1
	// true 2
	// 2 <nil>
}
