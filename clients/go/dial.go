package lingpai

import (
	"context"
	"errors"
	"io"
	"strings"

	pb "lingpai.example/clients/go/internal/clientv1"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

//go:generate buf generate ../proto

// service is by what the broker knows the calls. The messages are of a package of the library's own: two copies of one in a process end it.
const service = "/lingpai.v1.TokenService/"

// messageMax is the longest message that is taken, in bytes.
const messageMax = 4 << 20

// dial makes a connection for one stream or one call. The context that it returns shows the key.
func (c *Client) dial(ctx context.Context) (*grpc.ClientConn, context.Context, error) {
	key, err := c.options.bearer(ctx)
	if err != nil {
		return nil, ctx, err
	}
	transport, err := c.options.credentials()
	if err != nil {
		return nil, ctx, err
	}
	conn, err := grpc.NewClient("passthrough:///"+c.options.address,
		grpc.WithTransportCredentials(transport),
		grpc.WithNoProxy(), // the broker is an internal address: the environment's proxy is for others
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: grpcbackoff.DefaultConfig, MinConnectTimeout: c.options.timing.Connect}),
		grpc.WithUserAgent("lingpai-go/0.1.0"),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageMax)),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
	)
	if err != nil {
		return nil, ctx, &RPCError{Code: "UNAVAILABLE", words: err.Error()}
	}
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	return conn, ctx, nil
}

// openStream begins a WatchToken, and gives what reads its next message.
func openStream(ctx context.Context, conn *grpc.ClientConn, request *pb.WatchTokenRequest) (func() (*pb.WatchTokenResponse, error), error) {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, service+"WatchToken")
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(request); err != nil {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	return func() (*pb.WatchTokenResponse, error) {
		message := &pb.WatchTokenResponse{}
		err := stream.RecvMsg(message)
		if errors.Is(err, io.EOF) {
			err = &RPCError{Code: "UNAVAILABLE", words: "the stream ended"}
		}
		return message, err
	}, nil
}

// unary makes one call on a connection of its own.
func (c *Client) unary(method string, request, answer proto.Message) error {
	ctx, cancel := context.WithTimeout(c.ctx, c.options.timing.Call)
	defer cancel()
	conn, ctx, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Invoke(ctx, service+method, request, answer)
}

// outcomeOf is an outcome's name without its prefix; UNKNOWN where a later broker has added it.
func outcomeOf(outcome pb.ForceRefreshOutcome) string {
	name, isKnown := pb.ForceRefreshOutcome_name[int32(outcome)]
	if !isKnown {
		return "UNKNOWN"
	}
	return strings.TrimPrefix(name, "FORCE_REFRESH_OUTCOME_")
}
