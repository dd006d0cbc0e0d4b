#!/bin/sh
# What the libraries test by themselves, without a broker: `npm run libraries`. Node's tests are among those of `npm test`.
set -eu
cd "$(dirname "$0")"

echo "go: vet, tests"
(cd go && test -z "$(gofmt -l .)" && go vet ./... && go test ./...)

echo "python: tests"
(cd python && python3 -m unittest discover --quiet --start-directory tests)

echo "rust: format, tests"
(cd rust && cargo fmt --all --check && cargo test --quiet --package lingpai)

echo "java: lint, doc comments, tests, adapters"
(cd java && mvn --batch-mode --quiet --no-transfer-progress test)
