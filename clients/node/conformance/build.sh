#!/bin/sh
# Builds the library for its driver. Its dependencies may be there already, above this folder.
set -eu
cd "$(dirname "$0")/.."
node -e "import('@bufbuild/protobuf').then(() => import.meta.resolve('typescript'))" 2>/dev/null ||
  npm install --no-package-lock --no-audit --no-fund --silent
npm run --silent build
