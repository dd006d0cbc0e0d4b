#!/bin/sh
# What this library is checked by, without a broker: style, types, the tests on each Python from 3.9 to 3.13 that is here, and the
# adapters with the SDKs that test/sdk locks. A Python that is not here is named and left out.
set -eu
cd "$(dirname "$0")"

test -x .venv/bin/python || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-check.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
  --requirement ../../test/sdk/wechatpy/requirements.txt --requirement ../../test/sdk/werobot/requirements.txt
.venv/bin/ruff check --quiet . ../../examples/python/main.py
.venv/bin/ruff format --quiet --check . ../../examples/python/main.py
.venv/bin/mypy --no-error-summary src

# A name that pyenv puts on PATH may lead to nothing.
python_of() {
  for python in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python; do
    if "$python" -c '' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
}

tried=''
for version in 3.9 3.10 3.11 3.12 3.13; do
  python=$(python_of "$version")
  if [ -z "$python" ]; then
    echo "python: $version is not here, left out"
    continue
  fi
  "$python" -W error::ResourceWarning -m unittest discover --quiet --start-directory tests
  tried="$tried $version"
done
test -n "$tried" || { echo 'python: there is no Python from 3.9 to 3.13' >&2; exit 1; }
.venv/bin/python -W error::ResourceWarning -m unittest discover --quiet --start-directory tests/adapters
echo "python: tests on$tried"
