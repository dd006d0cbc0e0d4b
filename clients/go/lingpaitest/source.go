// Package lingpaitest has doubles for tests of services that use package lingpai: a source that needs no broker, and a broker in the
// process, which the real client connects to (rule R19 of clients/SPEC.md).
package lingpaitest

import (
	lingpai "lingpai.example/clients/go"
	"lingpai.example/clients/go/internal/double"
)

// Source is a source that holds the first of values and needs no broker. It is a real one: Do and Report work as they do with a broker
// that answers a report by the next of values (REFRESHED), and of the last one says STILL_VALID. Its tokens do not expire. Without
// values it holds no token: reads return a NoTokenError, PENDING. It panics for an app id or a value that cannot be one.
func Source(app string, values ...string) *lingpai.Source {
	return double.Source(app, values).(*lingpai.Source)
}
