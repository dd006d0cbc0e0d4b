#!/bin/sh
# What the libraries test by themselves, without a broker: `npm run libraries`. Node's tests are among those of `npm test`.
set -eu
cd "$(dirname "$0")"

echo "go: format, vet, staticcheck, tests by the race detector, stubs, adapters with the real SDKs"
sh go/check.sh

echo "python: style, types, tests, adapters"
sh python/check.sh

echo "rust: format, tests, clippy, docs, stubs"
(
  cd rust
  cargo fmt --all --check
  (cd ../../examples/rust && cargo fmt --check)
  cargo test --quiet --package lingpai --all-features
  if cargo clippy --version >/dev/null 2>&1; then
    cargo clippy --quiet --package lingpai --package driver --all-targets --all-features -- --deny warnings
  else
    echo "rust: clippy is not installed, and is left out"
  fi
  RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --package lingpai --all-features --no-deps
  # Compared as rustfmt writes it: how prettyplease does may change.
  cargo run --quiet --package stubs -- target/made.rs
  cp src/gen.rs target/committed.rs
  rustfmt --edition 2021 target/made.rs target/committed.rs
  cmp target/made.rs target/committed.rs || { echo "rust: src/gen.rs is not what cargo run -p stubs makes: run it, and commit the result" >&2; exit 1; }
)

echo "java: lint, doc comments, tests, adapters"
(cd java && mvn --batch-mode --quiet --no-transfer-progress test)
