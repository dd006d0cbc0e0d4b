package lingpaitest

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	lingpai "lingpai.example/clients/go"
	pb "lingpai.example/clients/go/internal/clientv1"
	"lingpai.example/clients/go/internal/double"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// heartbeat is how often a silent stream hears from the broker.
const heartbeat = 10 * time.Second

// Broker is a broker in this process, on a port of loopback. Its tokens are made up and live for two hours. Its methods may be called
// from any goroutine; those that name an app panic where the broker has never had it.
type Broker struct {
	// Target is what lingpai.New takes. It stays the same when the broker is stopped and started again.
	Target string

	mu       sync.Mutex
	server   *grpc.Server
	listener net.Listener
	apps     map[string]*app
	// changed is closed and replaced at each change: the streams look again at what they have not told.
	changed chan struct{}
	refusal error
	// drains counts the calls of Drain; a stream that is older than the last one ends.
	drains         int
	reconnectAfter time.Duration
	reports        int
}

// app is one app. Its generation is how many values it has had.
type app struct {
	values  []string
	killed  map[string]bool
	isKnown bool
}

// NewBroker starts a broker that has a token of each app; it does not know any other. The caller stops it. It panics where it cannot listen.
func NewBroker(apps ...string) *Broker {
	b := &Broker{Target: "http://127.0.0.1:0", apps: map[string]*app{}, changed: make(chan struct{})}
	for _, app := range apps {
		b.Add(app)
	}
	b.Start()
	return b
}

// portWait is how long Start waits for its port, which another may have been given: a connection of theirs, or a listener.
const portWait = 5 * time.Second

// Start has a broker that was stopped listen again, at the same address and with the same tokens. It waits up to 5 seconds for another to
// let go of its port, and then panics.
func (b *Broker) Start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server != nil {
		return
	}
	listener, err := net.Listen("tcp", b.Target[len("http://"):])
	for late := time.Now().Add(portWait); err != nil; listener, err = net.Listen("tcp", b.Target[len("http://"):]) {
		if time.Now().After(late) {
			panic(fmt.Sprintf("lingpaitest: %v", err))
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.listener = listener
	b.Target = "http://" + listener.Addr().String()
	b.server = grpc.NewServer()
	b.server.RegisterService(&service, b)
	go func(server *grpc.Server) { _ = server.Serve(listener) }(b.server)
}

// Stop ends the broker with every connection. It may be called any number of times.
func (b *Broker) Stop() {
	b.mu.Lock()
	server, listener := b.server, b.listener
	b.server = nil
	b.mu.Unlock()
	if server != nil {
		_ = listener.Close() // a server that has not begun to serve leaves it open for a moment
		server.Stop()
	}
}

// Rotate makes a new token of an app, tells every stream, and returns the token's value. WeChat would honour the one before it for a while.
func (b *Broker) Rotate(app string) string {
	defer b.change()()
	return b.of(app).rotate()
}

// Kill has every token that an app has had until now refused: a report of the newest makes a new one. Nobody is told.
func (b *Broker) Kill(app string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.of(app)
	for _, value := range one.values {
		one.killed[value] = true
	}
}

// Honours says whether WeChat would take this value for an app: it is the newest or the one before it, and was not killed.
func (b *Broker) Honours(app, value string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.of(app)
	return slices.Contains(one.values[max(0, len(one.values)-2):], value) && !one.killed[value]
}

// Drain has each stream end with a goaway that asks its client to come again after so long.
func (b *Broker) Drain(reconnectAfter time.Duration) {
	defer b.change()()
	b.drains++
	b.reconnectAfter = reconnectAfter
}

// Refuse has every call, and every stream that begins, answered by this error: Code, Reason, App and RetryAfter are what the client
// will read. Streams that are open go on. nil ends it.
func (b *Broker) Refuse(with *lingpai.RPCError) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusal = nil
	if with != nil {
		b.refusal = statusOf(with)
	}
}

// Add has the broker know an app, with a new token, also one that was removed. A client that was told that it is unknown asks for it again
// after the AppRetry of lingpai.Timing.
func (b *Broker) Add(name string) {
	defer b.change()()
	one := b.apps[name]
	if one == nil {
		one = &app{killed: map[string]bool{}}
		b.apps[name] = one
	}
	one.isKnown = true
	one.rotate()
}

// Remove takes an app out, tells every stream, and does not know it any more.
func (b *Broker) Remove(app string) {
	defer b.change()()
	b.of(app).isKnown = false
}

// Reports is how many ForceRefresh calls came.
func (b *Broker) Reports() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reports
}

// change locks the broker, and gives what unlocks it and has the streams look.
func (b *Broker) change() (done func()) {
	b.mu.Lock()
	return func() {
		close(b.changed)
		b.changed = make(chan struct{})
		b.mu.Unlock()
	}
}

func (b *Broker) of(app string) *app {
	one := b.apps[app]
	if one == nil {
		panic(fmt.Sprintf("lingpaitest: the broker has never had %s: name it in NewBroker or Add", app))
	}
	return one
}

func (a *app) rotate() string {
	value := "FAKE_" + rand.Text()
	a.values = append(a.values, value)
	return value
}

func (a *app) state(name string) *pb.TokenState {
	newest := len(a.values) - 1
	previous := ""
	if newest > 0 && !a.killed[a.values[newest-1]] {
		previous = a.values[newest-1]
	}
	return double.State(name, uint64(len(a.values)), a.values[newest], previous)
}

// find is an app that is asked for, unless the broker refuses or does not know it. The broker is locked.
func (b *Broker) find(name string) (*app, error) {
	if b.refusal != nil {
		return nil, b.refusal
	}
	one := b.apps[name]
	if one == nil || !one.isKnown {
		return nil, statusOf(&lingpai.RPCError{Code: "NOT_FOUND", Reason: "APP_NOT_FOUND", App: name})
	}
	return one, nil
}

func (b *Broker) get(request *pb.GetRequest) (*pb.GetResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one, err := b.find(request.GetAppId())
	if err != nil {
		return nil, err
	}
	return &pb.GetResponse{State: one.state(request.GetAppId()), ServerTime: timestamppb.Now()}, nil
}

func (b *Broker) forceRefresh(request *pb.ForceRefreshRequest) (*pb.ForceRefreshResponse, error) {
	defer b.change()()
	b.reports++
	one, err := b.find(request.GetAppId())
	if err != nil {
		return nil, err
	}
	newest := one.values[len(one.values)-1]
	isNewest := request.GetRejectedToken() == newest || request.GetRejectedGeneration() == uint64(len(one.values))
	outcome := pb.ForceRefreshOutcome_FORCE_REFRESH_OUTCOME_ALREADY_NEWER
	switch {
	case isNewest && one.killed[newest]:
		one.rotate()
		outcome = pb.ForceRefreshOutcome_FORCE_REFRESH_OUTCOME_REFRESHED
	case isNewest:
		outcome = pb.ForceRefreshOutcome_FORCE_REFRESH_OUTCOME_STILL_VALID
	}
	return &pb.ForceRefreshResponse{State: one.state(request.GetAppId()), Outcome: outcome, ServerTime: timestamppb.Now()}, nil
}

// watch tells a stream what it does not know, until it ends.
func (b *Broker) watch(request *pb.WatchTokenRequest, stream grpc.ServerStream) error {
	drains, err := b.admit(request.GetAppIds())
	if err != nil {
		return err
	}
	told := maps.Clone(request.GetKnownGenerations())
	if told == nil {
		told = map[string]uint64{}
	}
	messages := []*pb.WatchTokenResponse{alive()}
	for {
		b.mu.Lock()
		changed, isDrained := b.changed, b.drains > drains
		messages = append(messages, b.news(request.GetAppIds(), told)...)
		if isDrained {
			goaway := &pb.Goaway{ReconnectAfter: durationpb.New(b.reconnectAfter)}
			messages = append(messages, &pb.WatchTokenResponse{Event: &pb.WatchTokenResponse_Goaway{Goaway: goaway}})
		}
		b.mu.Unlock()
		for _, message := range messages {
			message.ServerTime = timestamppb.Now()
			if err := stream.SendMsg(message); err != nil {
				return err
			}
		}
		if isDrained {
			return nil
		}
		messages = nil
		silent := time.NewTimer(heartbeat)
		select {
		case <-changed:
		case <-silent.C:
			messages = append(messages, alive())
		case <-stream.Context().Done():
			return nil
		}
		silent.Stop()
	}
}

// admit says after how many drains a stream of these apps begins, or why it does not.
func (b *Broker) admit(names []string) (drains int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		if _, err := b.find(name); err != nil {
			return 0, err
		}
	}
	return b.drains, nil
}

// news is what a stream that was told these generations is to be told now. The broker is locked.
func (b *Broker) news(names []string, told map[string]uint64) (messages []*pb.WatchTokenResponse) {
	for _, name := range names {
		one := b.apps[name]
		_, isTold := told[name]
		generation := uint64(len(one.values))
		switch {
		case !one.isKnown && isTold:
			delete(told, name)
			removed := &pb.AppRemoved{AppId: name}
			messages = append(messages, &pb.WatchTokenResponse{Event: &pb.WatchTokenResponse_Removed{Removed: removed}})
		case one.isKnown && generation > told[name]:
			told[name] = generation
			messages = append(messages, &pb.WatchTokenResponse{Event: &pb.WatchTokenResponse_State{State: one.state(name)}})
		}
	}
	return messages
}

func alive() *pb.WatchTokenResponse {
	return &pb.WatchTokenResponse{Event: &pb.WatchTokenResponse_Heartbeat{Heartbeat: &pb.Heartbeat{AsOf: timestamppb.Now()}}}
}

// statusOf is an error as the broker sends it. It panics for a code that gRPC does not have.
func statusOf(err *lingpai.RPCError) error {
	var code codes.Code
	if wrong := code.UnmarshalJSON([]byte(`"` + err.Code + `"`)); wrong != nil || code == codes.OK {
		panic(fmt.Sprintf("lingpaitest: %q is no code: write one as gRPC does, UNAVAILABLE", err.Code))
	}
	info := &errdetails.ErrorInfo{Reason: err.Reason, Domain: "lingpai"}
	if err.App != "" {
		info.Metadata = map[string]string{"app_id": err.App}
	}
	details := []protoadapt.MessageV1{info}
	if err.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(err.RetryAfter)})
	}
	made, wrong := status.New(code, "refused by the fake broker").WithDetails(details...)
	if wrong != nil {
		panic(wrong)
	}
	return made.Err()
}

// service is TokenService by hand: stubs would bring a second copy of its descriptor.
var service = grpc.ServiceDesc{
	ServiceName: "lingpai.v1.TokenService",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		unary("Get", (*Broker).get),
		unary("ForceRefresh", (*Broker).forceRefresh),
	},
	Streams: []grpc.StreamDesc{{
		StreamName: "WatchToken", ServerStreams: true,
		Handler: func(broker any, stream grpc.ServerStream) error {
			request := &pb.WatchTokenRequest{}
			if err := stream.RecvMsg(request); err != nil {
				return err
			}
			return broker.(*Broker).watch(request, stream)
		},
	}},
}

func unary[In any, Request interface {
	*In
	proto.Message
}, Answer proto.Message](name string, answer func(*Broker, Request) (Answer, error)) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(broker any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			request := Request(new(In))
			if err := decode(request); err != nil {
				return nil, err
			}
			return answer(broker.(*Broker), request)
		},
	}
}
