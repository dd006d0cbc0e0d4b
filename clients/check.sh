#!/bin/sh
# What the libraries test by themselves, without a broker: `npm run libraries`. Node's tests are among those of `npm test`.
set -eu
cd "$(dirname "$0")"

echo "go: format, vet, staticcheck, tests by the race detector, stubs, adapters with the real SDKs"
sh go/check.sh

echo "python: style, types, tests, adapters"
sh python/check.sh

echo "rust: format, tests"
(cd rust && cargo fmt --all --check && cargo test --quiet --package lingpai)

echo "java: lint, doc comments, tests, adapters"
(cd java && mvn --batch-mode --quiet --no-transfer-progress test)
