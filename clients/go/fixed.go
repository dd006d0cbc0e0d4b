package lingpai

import (
	"sync"

	pb "lingpai.example/clients/go/internal/clientv1"
	"lingpai.example/clients/go/internal/double"

	"google.golang.org/protobuf/proto"
)

func init() {
	double.Source = func(app string, values []string) any { return fixed(app, values) }
}

// fixed is a source that needs no broker: it holds the first value, and a report brings the next, or STILL_VALID where there is none.
func fixed(app string, values []string) *Source {
	o, err := configure("127.0.0.1:7600", []Option{Apps(app)})
	if err != nil {
		panic(err)
	}
	client := newClient(o)
	source := client.sources[app]
	if len(values) == 0 {
		source.drop(Pending)
		return source
	}
	var mu sync.Mutex
	at := 0
	state := func() *pb.TokenState {
		previous := ""
		if at > 0 {
			previous = values[at-1]
		}
		state := double.State(app, uint64(at+1), values[at], previous)
		state.Current.ExpireTime = nil
		return state
	}
	client.call = func(_ string, _, answer proto.Message) error {
		mu.Lock()
		defer mu.Unlock()
		outcome := pb.ForceRefreshOutcome_FORCE_REFRESH_OUTCOME_STILL_VALID
		if at+1 < len(values) {
			at++
			outcome = pb.ForceRefreshOutcome_FORCE_REFRESH_OUTCOME_REFRESHED
		}
		proto.Merge(answer, &pb.ForceRefreshResponse{State: state(), Outcome: outcome})
		return nil
	}
	if err := source.take(state(), nil); err != nil {
		panic(err)
	}
	return source
}
