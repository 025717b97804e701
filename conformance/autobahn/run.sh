#!/usr/bin/env bash
# The Autobahn WebSocket conformance suite (517 cases) against a server or a client of ours.
#
#   run.sh server URL [options] [CASES...]                 fuzz the echo server at URL
#   run.sh client [options] [CASES...] -- COMMAND [ARG...] serve cases to a client, started as
#                                                          COMMAND ARG... ws://127.0.0.1:PORT AGENT
#   run.sh cases [CASES...]                                list the ids of cases
#   run.sh echo PORT                                       Autobahn's own echo server, to compare with
#   run.sh testee URL AGENT                                Autobahn's own client, to compare with
#   run.sh setup                                           only download and port the suite
#
# CASES are ids and patterns: 1.1.1, '7.*', 12 (all of 12.*), '-9.3' (leave these out).
# Without any it is the ordinary selection of expected.json, or all with --full.
# README.md says more. Exit codes: 0 as expected, 1 a case failed, 2 cases did not run,
# 3 the fuzzer itself broke, 64 a bad command line.
#
# PYTHON=python3 chooses the Python 3.10 or later that the suite's own environment is made with.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/autobahn
python=${PYTHON:-python3}

# The build's name stands for all that it is made from, so that an edit makes a new build
# beside the old one, which a run still going on may be using.
stamp=$(cat "$here"/port.py "$here"/requirements.txt "$here"/compat/*.py <("$python" -VV) | sha256sum | cut -c1-16)
build=$cache/build-$stamp

setup() {
  [ -f "$build/done" ] && return
  mkdir -p "$cache/downloads"
  exec 9>"$cache/lock"
  flock 9
  if [ ! -f "$build/done" ]; then
    echo "autobahn: setting up in $build" >&2
    make_build
    touch "$build/done"
  fi
  exec 9>&-
}

make_build() {
  rm -rf "$build"
  "$python" -m venv "$build/venv"
  local pip=("$build/venv/bin/python" -m pip --disable-pip-version-check -q)
  "${pip[@]}" install --no-deps -r "$here/requirements.txt" >&2

  # The suite's wheel says Python 2: ask for it by that name. Nothing in it is run before it is ported.
  [ -f "$cache/downloads/autobahntestsuite-25.10.1-py2-none-any.whl" ] ||
    "${pip[@]}" download --no-deps -d "$cache/downloads" --only-binary=:all: \
      --python-version 2.7 --implementation py --abi none --platform any autobahntestsuite==25.10.1 >&2

  # autobahn 0.10.9 has only a source archive; pip runs its setup.py to learn its name, which
  # needs a setuptools of its time. Newer pips read the second variable, older ones the first.
  if [ ! -f "$cache/downloads/autobahn-0.10.9.tar.gz" ]; then
    echo "setuptools<72" >"$cache/constraints.txt"
    PIP_CONSTRAINT=$cache/constraints.txt PIP_BUILD_CONSTRAINT=$cache/constraints.txt \
      "${pip[@]}" download --no-deps -d "$cache/downloads" --no-binary autobahn autobahn==0.10.9 >&2
  fi

  "$build/venv/bin/python" -W ignore "$here/port.py" build "$cache/downloads" "$build/port" >&2
  "$build/venv/bin/python" -W ignore "$here/port.py" selftest "$build/port" >&2
}

setup
[ "${1:-}" = setup ] && exit 0
export PYTHONPATH=$build/port AUTOBAHN_REPORTS=$cache/reports
exec "$build/venv/bin/python" -W ignore "$here/drive.py" "$@"
