#!/bin/sh
# Builds the library for the driver: with its own dependencies, where the repository's are not there. `build.sh VERSION` brings that
# Node.js too, for drivers that run on it: target/node_modules/.bin/node.
set -eu
cd "$(dirname "$0")/.."
if ! node --input-type=commonjs -e 'for (const name of ["@grpc/grpc-js", "@bufbuild/protobuf", "typescript/package.json"]) require.resolve(name)' 2>/dev/null; then
  npm install --no-package-lock --no-audit --no-fund --silent --ignore-scripts
fi
npm run --silent build
if [ $# -gt 0 ]; then
  npm install --prefix conformance/target --no-save --no-package-lock --no-audit --no-fund --silent "node@$1"
fi
