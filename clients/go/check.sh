#!/bin/sh
# The Go library, its driver and its adapters: `npm run libraries` runs it.
set -eu
cd "$(dirname "$0")"
PATH="$PWD/../../node_modules/.bin:$PATH" # buf

unformatted=$(gofmt -l . ../../examples/go)
if [ -n "$unformatted" ]; then
  echo "go: run gofmt -w on $unformatted"
  exit 1
fi
if ! go list -f '{{.TestGoFiles}}' . | grep -q source_test.go; then
  echo "go: this is $(go env GOVERSION), and most rules are tested by source_test.go, which needs testing/synctest of go1.25"
  exit 1
fi
for module in . conformance adapters/*/ ../../examples/go; do
  (
    cd "$module"
    go vet ./...
    go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
    go test -race ./...
  )
done

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
buf generate --output "$made" ../proto
if ! diff -r "$made/internal/clientv1" internal/clientv1 >/dev/null; then
  echo "go: internal/clientv1 is not what ../proto gives: run go generate ./..."
  exit 1
fi
