package lingpai_test

import (
	"context"
	"fmt"
	"log"

	lingpai "lingpai.example/clients/go"
	"lingpai.example/clients/go/lingpaitest"
)

func Example() {
	broker := lingpaitest.NewBroker("wx0000000000000001") // a service has a broker's address instead
	defer broker.Stop()

	client, err := lingpai.New(context.Background(), broker.Target, lingpai.Apps("wx0000000000000001"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	source := client.App("wx0000000000000001")
	err = source.Do(context.Background(), func(ctx context.Context, token string) error {
		errcode := 0 // call WeChat with token here, and take the errcode of its answer
		return lingpai.Rejected(errcode)
	})
	fmt.Println(err)
	// Output: <nil>
}
