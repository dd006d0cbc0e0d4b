// Package opening looks at how an HTTP answer begins, for the library and its adapters.
package opening

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// longest is the longest answer, in bytes, that is looked at: one that has an errcode is short.
const longest = 4096

// Object says whether an answer is a JSON object of at most 4,096 bytes that isWanted, which is asked once it has been read into into. The
// answer can be read as before, and no more of it is waited for than tells: what begins otherwise is not held back, nor are events.
func Object(response *http.Response, into any, isWanted func() bool) bool {
	isEvents := strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream")
	if response.Body == nil || response.ContentLength > longest || isEvents {
		return false
	}
	head := &opening{from: io.LimitReader(response.Body, longest+1)}
	isObject := json.NewDecoder(head).Decode(into) == nil && isWanted()
	if isObject {
		_, _ = io.Copy(io.Discard, head)
		isObject = head.err == nil && head.read.Len() <= longest && json.Unmarshal(head.read.Bytes(), into) == nil
	}
	rest := io.Reader(response.Body)
	if head.err != nil {
		rest = failing{head.err}
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&head.read, rest), response.Body}
	return isObject
}

// opening reads what may be an object, and keeps what it read.
type opening struct {
	from     io.Reader
	read     bytes.Buffer
	hasBegun bool
	// err is why it cannot be read on, if it has not ended.
	err error
}

func (o *opening) Read(into []byte) (int, error) {
	n, err := o.from.Read(into)
	o.read.Write(into[:n])
	if err != nil && err != io.EOF {
		o.err = err
	}
	if begin := bytes.TrimLeft(into[:n], " \t\r\n"); !o.hasBegun && len(begin) > 0 {
		o.hasBegun = true
		if begin[0] != '{' {
			return 0, io.EOF
		}
	}
	return n, err
}

// failing is a body that failed while it was read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
