package tokens

import (
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	pb "lingpai.example/go/gen/lingpai/v1"
)

// Failure is what a broker's error says: a gRPC code, the ErrorReason behind it (empty when the error is not the
// broker's own, as when it cannot be reached), words, and how long to wait before a retry can help (0: not said).
type Failure struct {
	Code, Reason, Message string
	RetryAfter            time.Duration
}

// Explain reads the details of a gRPC error.
func Explain(err error) Failure {
	st := status.Convert(err)
	failure := Failure{Code: code.Code(st.Code()).String(), Message: st.Message()}
	for _, detail := range st.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			failure.Reason = detail.Reason
		case *errdetails.RetryInfo:
			failure.RetryAfter = detail.RetryDelay.AsDuration()
		}
	}
	return failure
}

// Permanent tells that waiting will not help, since the request itself is wrong.
func (f Failure) Permanent() bool {
	return f.Reason == "APP_NOT_FOUND" || f.Reason == "INVALID_REQUEST"
}

// NeedsOperator tells that someone must mend a key, a permission or the address first: ask seldom.
func (f Failure) NeedsOperator() bool {
	return f.Code == "UNAUTHENTICATED" || f.Code == "PERMISSION_DENIED" || f.Code == "UNIMPLEMENTED"
}

// Fields is the failure as data for a log line.
func (f Failure) Fields(during string) map[string]any {
	return f.fields(during, f.RetryAfter)
}

func (f Failure) fields(during string, retryIn time.Duration) map[string]any {
	return map[string]any{
		"during": during, "code": f.Code, "reason": f.Reason, "message": f.Message, "retry_in_ms": retryIn.Milliseconds(),
	}
}

// name is an enum's value without its prefix: FRESH, STILL_VALID.
func name[E pb.TokenStatus | pb.ForceRefreshOutcome](value E) string {
	switch value := any(value).(type) {
	case pb.TokenStatus:
		return strings.TrimPrefix(value.String(), "TOKEN_STATUS_")
	case pb.ForceRefreshOutcome:
		return strings.TrimPrefix(value.String(), "FORCE_REFRESH_OUTCOME_")
	}
	return ""
}
