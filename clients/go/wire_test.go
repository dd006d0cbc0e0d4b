package lingpai

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	pb "lingpai.example/clients/go/internal/clientv1"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// vectors are the golden ones: test/conformance/wire/README.md says what each part is for.
type vectors struct {
	Requests []vector
	Messages []vector
	Errors   []struct {
		Name         string
		GrpcTrailers map[string]string
		Expect       struct {
			Code, Reason, Message string
			RetryMs               *int64
			App                   *string
		}
	}
	Limits struct{ Values []vector }
}

type vector struct {
	Name, Message string
	Binary        []byte
	JSON          json.RawMessage
	Exact         bool
	Expect        struct {
		Event, App, TokenID, PreviousID *string
		Generation                      string
		LifeMs, PreviousLifeMs          *int64
		ReconnectAfterMs                int64
		Status, StatusReason, Outcome   string
		IsAccepted                      bool
	}
}

func readVectors(t *testing.T) (read vectors) {
	t.Helper()
	text, err := os.ReadFile("../../test/conformance/wire/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

func messageOf(t *testing.T, name string) proto.Message {
	t.Helper()
	switch name {
	case "WatchTokenRequest":
		return &pb.WatchTokenRequest{}
	case "WatchTokenResponse":
		return &pb.WatchTokenResponse{}
	case "GetRequest":
		return &pb.GetRequest{}
	case "GetResponse":
		return &pb.GetResponse{}
	case "ForceRefreshRequest":
		return &pb.ForceRefreshRequest{}
	case "ForceRefreshResponse":
		return &pb.ForceRefreshResponse{}
	}
	t.Fatalf("a message %s", name)
	return nil
}

func TestWireRequests(t *testing.T) {
	requests := readVectors(t).Requests
	for _, v := range requests {
		want, got := messageOf(t, v.Message), messageOf(t, v.Message)
		if err := protojson.Unmarshal(v.JSON, want); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		if err := proto.Unmarshal(v.Binary, got); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v, want %v (%v)", v.Name, got, want, err)
		}
		if bytes, err := proto.Marshal(want); err != nil || v.Exact && string(bytes) != string(v.Binary) {
			t.Errorf("%s: %x, want %x (%v)", v.Name, bytes, v.Binary, err)
		}
	}
	if len(requests) < 9 {
		t.Errorf("%d requests", len(requests))
	}
}

func TestWireMessages(t *testing.T) {
	messages := readVectors(t).Messages
	for _, v := range messages {
		t.Run(v.Name, func(t *testing.T) {
			o, _ := configure("127.0.0.1:7600", []Option{Apps("wx1")})
			c := newClient(o)
			source := c.App("wx1")
			message := messageOf(t, v.Message)
			if err := proto.Unmarshal(v.Binary, message); err != nil {
				t.Fatal(err)
			}
			var err error
			var after time.Duration
			switch message := message.(type) {
			case *pb.WatchTokenResponse:
				after, err = c.take(message)
			case *pb.GetResponse:
				err = source.take(message.GetState(), message.GetServerTime())
			case *pb.ForceRefreshResponse:
				if got := outcomeOf(message.GetOutcome()); got != v.Expect.Outcome {
					t.Errorf("outcome %s, want %s", got, v.Expect.Outcome)
				}
				err = source.take(message.GetState(), message.GetServerTime())
			}
			if err != nil {
				t.Fatal(err)
			}
			event := "state"
			if v.Message == "WatchTokenResponse" {
				event = ""
				if v.Expect.Event != nil {
					event = *v.Expect.Event
				}
			}
			want := Waiting
			switch event {
			case "state":
				want = wantedState(v)
			case "removed":
				want = Removed
			case "goaway":
				if asked := max(v.Expect.ReconnectAfterMs, 100); after.Milliseconds() != asked {
					t.Errorf("a pause of %v, want %d ms", after, asked)
				}
			}
			if got := shown(source); got != want {
				t.Errorf("%s is held, want %s", got, want)
			}
		})
	}
	if len(messages) < 20 {
		t.Errorf("%d messages", len(messages))
	}
}

// wantedState is what is expected of a vector's state, as shown shows it.
func wantedState(v vector) string {
	expect := v.Expect
	if expect.TokenID == nil {
		return strings.TrimSpace(expect.Status + " " + expect.StatusReason)
	}
	want := fmt.Sprintf("%s %s %s", expect.Generation, *expect.TokenID, lasting(expect.LifeMs))
	if expect.PreviousID != nil {
		want += fmt.Sprintf(" after %s %s", *expect.PreviousID, lasting(expect.PreviousLifeMs))
	}
	return want
}

func lasting(ms *int64) string {
	if ms == nil {
		return "for ever"
	}
	return (time.Duration(*ms) * time.Millisecond).Round(time.Minute).String()
}

func shown(source *Source) string {
	token, err := source.Token()
	if err != nil {
		none := err.(*NoTokenError)
		return strings.TrimSpace(none.Reason + " " + none.Words)
	}
	life := func(token *Token) string {
		if token.ExpiresAt.IsZero() {
			return lasting(nil)
		}
		ms := time.Until(token.ExpiresAt).Milliseconds()
		return lasting(&ms)
	}
	text := fmt.Sprintf("%d %s %s", token.Generation, token.ID, life(token))
	if token.Previous != nil {
		text += fmt.Sprintf(" after %s %s", token.Previous.ID, life(token.Previous))
	}
	return text
}

func TestWireErrors(t *testing.T) {
	failures := readVectors(t).Errors
	for _, v := range failures {
		details := &spb.Status{}
		// The field is bytes: JSON has them in the base64 that the trailer has, with padding.
		var bytes []byte
		text := v.GrpcTrailers["grpc-status-details-bin"]
		for len(text)%4 != 0 {
			text += "="
		}
		if err := json.Unmarshal([]byte(`"`+text+`"`), &bytes); err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(bytes, details); err != nil {
			t.Fatal(err)
		}
		got := explain(status.FromProto(details).Err())
		app, retry := "", int64(0)
		if v.Expect.App != nil {
			app = *v.Expect.App
		}
		if v.Expect.RetryMs != nil {
			retry = *v.Expect.RetryMs
		}
		if got.Code != v.Expect.Code || got.Reason != v.Expect.Reason || got.words != v.Expect.Message || got.App != app ||
			got.RetryAfter.Milliseconds() != retry {
			t.Errorf("%s: %+v", v.Name, got)
		}
	}
	if len(failures) < 9 {
		t.Errorf("%d errors", len(failures))
	}
}

func TestWireLimits(t *testing.T) {
	values := readVectors(t).Limits.Values
	for _, v := range values {
		o, _ := configure("127.0.0.1:7600", []Option{Apps("wx1")})
		c := newClient(o)
		message := &pb.WatchTokenResponse{}
		if err := proto.Unmarshal(v.Binary, message); err != nil {
			t.Fatal(err)
		}
		_, err := c.take(message)
		if _, none := c.App("wx1").Token(); (err == nil) != v.Expect.IsAccepted || (none == nil) != v.Expect.IsAccepted {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
	if len(values) < 2 {
		t.Errorf("%d values", len(values))
	}
}
