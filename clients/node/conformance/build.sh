#!/bin/sh
# Builds the library for the driver: with its own dependencies, where the repository's are not there.
set -eu
cd "$(dirname "$0")/.."
if ! node --input-type=commonjs -e 'for (const name of ["@grpc/grpc-js", "@bufbuild/protobuf", "typescript/package.json"]) require.resolve(name)' 2>/dev/null; then
  npm install --no-package-lock --no-audit --no-fund --silent --ignore-scripts
fi
npm run --silent build
