// Package double has what the library and its package for users' tests share.
package double

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	pb "lingpai.example/clients/go/internal/clientv1"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// Source makes a *lingpai.Source that holds the first of values and needs no broker. Package lingpai sets it.
var Source func(app string, values []string) any

// State is the state of an app whose newest token has this value, which lives for two hours. previous is the value before it, or empty.
func State(app string, generation uint64, value, previous string) *pb.TokenState {
	state := &pb.TokenState{
		AppId: app, Generation: generation, Status: pb.TokenStatus_TOKEN_STATUS_FRESH, Current: token(value, 2*time.Hour),
	}
	if previous != "" {
		state.Previous = token(previous, 5*time.Minute)
	}
	return state
}

func token(value string, life time.Duration) *pb.Token {
	sum := sha256.Sum256([]byte(value))
	now := time.Now()
	return &pb.Token{
		Value: value, Id: hex.EncodeToString(sum[:])[:12], IssueTime: timestamppb.New(now), ExpireTime: timestamppb.New(now.Add(life)),
	}
}
