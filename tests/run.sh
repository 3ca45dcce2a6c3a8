#!/usr/bin/env bash
# All tests, from a machine where nothing is installed to the last line "N passed, N failed".
#
#   tests/run.sh                 everything
#   tests/run.sh lint c e2e      some suites
#   tests/run.sh e2e:test_logs   one file of the end-to-end tests
#
# Every suite runs with a home, a state directory and a runtime root of its own below a temporary directory that is removed at
# the end. A suite that could not run counts as failed. A single test that this machine cannot run (containers without a daemon) says so
# in a line of its own, and counts as neither. Nothing is retried.
set -u

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top" || exit 1

SUITES=(build lint layers c lua shop e2e e2e-debug teeth fuzz docs)
JOBS=$(nproc)
FUZZ_SECONDS=${ENVCTL_FUZZ_SECONDS:-20}
# End-to-end tests that are worth their time under the sanitizers as well.
DEBUG_E2E=(test_start_stop test_bad_input test_logs test_keeper_kill test_stop test_runtime_root)

# --- the sandbox -----------------------------------------------------------------------------------------------------

work=$(mktemp -d "${TMPDIR:-/tmp}/envctl-tests.XXXXXX") || exit 1
mkdir "$work"/{home,state,config,tmp,log}
# Tests that become another user have to get to their files.
chmod 711 "$work" "$work/tmp"
export TMPDIR=$work/tmp HOME=$work/home XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config
export RUN_SH_RUNTIME_DIR=$work/runtime PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8
export GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
# The compiler cache is worth keeping between runs; it is the one thing outside the sandbox.
export CCACHE_DIR=${CCACHE_DIR:-$top/build/ccache}

suite_pid=

# Ends the suite that still runs (a process group of its own; its tests clean up after themselves on SIGTERM), what it did not get
# to end itself, then the sandbox.
clean_up() {
  trap - EXIT
  trap '' INT TERM
  if [ -n "$suite_pid" ]; then
    kill -- "-$suite_pid" 2>/dev/null
    wait "$suite_pid" 2>/dev/null
  fi
  if command -v python3 >/dev/null; then
    python3 tests/e2e/sweep.py "$work"
  fi
  if [ -n "${ENVCTL_TEST_KEEP:-}" ]; then
    echo "kept $work"
  else
    rm -rf "$work"
  fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- counting --------------------------------------------------------------------------------------------------------

passed=0
failed=0
skipped=0

# Inside a suite: one check more. Usage: check NAME COMMAND…; its output is shown when it fails.
check() {
  local name=$1 log
  shift
  log=$(mktemp "$work/log/check.XXXXXX")
  if "$@" >"$log" 2>&1 </dev/null; then
    echo "ok $name"
  else
    echo "FAIL $name: exit code $? of: $*"
    sed 's/^/    /' "$log" | tail -n 60
  fi
  rm -f "$log"
}

# Runs a suite function, shows what failed, adds its counts up. Suites print lines that begin with "ok ", "skip " or "FAIL ", or whole
# results of a runner that closes with "N passed, N failed".
run_suite() {
  local name=$1 argument=${2:-} log began seconds ok bad left
  log=$work/log/$name.txt
  began=$SECONDS
  # In a subshell, so that a suite cannot change the others' environment; in the background, so that a signal to us is not kept
  # waiting; in a process group of its own, so that all of it can be ended.
  set -m
  ("suite_${name//-/_}" "$argument") >"$log" 2>&1 </dev/null &
  suite_pid=$!
  set +m
  wait "$suite_pid"
  suite_pid=
  seconds=$((SECONDS - began))
  ok=$(grep -c '^ok ' "$log")
  bad=$(grep -c '^FAIL ' "$log")
  left=$(grep -c '^skip ' "$log")
  if [ $((ok + bad)) = 0 ]; then
    echo "FAIL $name: ran no test" >>"$log"
    bad=1
  fi
  passed=$((passed + ok))
  failed=$((failed + bad))
  skipped=$((skipped + left))
  if [ "$bad" != 0 ]; then
    echo "--- $name"
    # The failures with what belongs to them: indented lines and comments.
    awk '/^FAIL /{show = 1} /^(ok|skip) /{show = 0} show' "$log" | head -n 400
    echo "---"
  fi
  grep '^skip ' "$log"
  printf '%-10s %4d passed, %d failed (%d s)\n' "$name" "$ok" "$bad" "$seconds"
}

# --- building --------------------------------------------------------------------------------------------------------

build_preset() {
  if [ ! -f "build/$1/build.ninja" ]; then
    cmake --preset "$1" || return
  fi
  cmake --build "build/$1" --parallel "$JOBS"
}

suite_build() {
  local preset
  for preset in debug release teeth fuzz; do
    check "build $preset" build_preset "$preset"
  done
}

# --- static checks ---------------------------------------------------------------------------------------------------

sources() {
  find src include tests -name '*.[ch]' | sort
}

clang_tidy_all() {
  # The compile commands name gcc's own options too: clang is told not to mind.
  python3 - build/debug/compile_commands.json <<'PY' | xargs -r -n 1 -P "$JOBS" \
    clang-tidy --quiet -p build/debug --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-unused-command-line-argument
import json, sys
for entry in json.load(open(sys.argv[1])):
    if "/src/" in entry["file"] and "/build/" not in entry["file"]:
        print(entry["file"])
PY
}

cppcheck_all() {
  mkdir -p build/cppcheck
  cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --enable=warning,performance,portability -j "$JOBS" \
    --cppcheck-build-dir=build/cppcheck --suppress=missingIncludeSystem -D_GNU_SOURCE -I include src
}

shell_scripts() {
  echo tests/run.sh examples/run.sh .ci/run .ci/packages.sh
  find tests docs examples -name '*.sh'
}

suite_lint() {
  # shellcheck disable=SC2046 # lists of file names without blanks
  {
    check clang-format clang-format --dry-run -Werror $(sources)
    check clang-tidy clang_tidy_all
    check cppcheck cppcheck_all
    check luacheck luacheck --quiet lua tests/lua
    check shellcheck shellcheck $(shell_scripts | tr ' ' '\n' | sort -u)
    check python python3 -W error -c 'import sys; [compile(open(f).read(), f, "exec") for f in sys.argv[1:]]' \
      $(find tests examples -name '*.py')
  }
}

suite_layers() {
  tests/lint/layers.sh
  tests/lint/layers_test.sh
}

# --- C and Lua -------------------------------------------------------------------------------------------------------

# cmocka's own lines, in our words; a test program that dies has none, so ctest's verdict is looked at as well.
suite_c() {
  local log=$work/log/ctest.txt
  ctest --test-dir build/debug --no-tests=error --verbose --timeout 300 --parallel "$JOBS" >"$log" 2>&1
  sed -n 's/^[0-9]*: *\[       OK \] */ok /p' "$log"
  sed -n 's/^[0-9]*: *\[  FAILED  \] *\([a-z_]\)/FAIL \1/p' "$log" | sort -u
  awk '/The following tests FAILED/{on = 1; next} on && /[0-9]+ - /{print "FAIL program", $0}' "$log"
  if grep -q 'tests failed out of' "$log" && ! grep -q ' 0 tests failed out of' "$log"; then
    sed 's/^/    /' "$log" | tail -n 200
  fi
}

# Some of the files; a process that dies in the middle of them does not come to its last line.
lua_tests() {
  local log
  log=$(mktemp "$work/log/lua.XXXXXX")
  build/debug/envctl_test "$@" >"$log" 2>&1
  tail -n 1 "$log" | grep -Eq '^[0-9]+ passed, [0-9]+ failed$' || echo "FAIL lua tests $1 …: ended before their end" >>"$log"
  cat "$log"
}

# Those of scripts take as long as all the others.
suite_lua() {
  local log=$work/log/lua-scripts.txt
  lua_tests script_ >"$log" &
  # shellcheck disable=SC2046 # names without blanks
  lua_tests $(cd tests/lua && printf '%s\n' *_test.lua | sed -n '/^script_/!s/_test.lua$//p')
  wait
  cat "$log"
}

suite_shop() {
  check 'shop backend' env -C examples/shop/backend python3 -m unittest
  check 'shop frontend' env -C examples/shop/frontend node --test
}

# --- the whole program -----------------------------------------------------------------------------------------------

# One file. The limit is for hangs; the tests have deadlines of their own.
run_e2e_file() {
  local file=$1 name log code
  name=$(basename "$file" .py)
  log=$work/log/e2e-$name-$2.txt
  timeout --foreground --kill-after=30 1200 python3 "$file" >"$log" 2>&1 </dev/null
  code=$?
  if [ "$code" -gt 1 ] || ! tail -n 1 "$log" | grep -Eq '^[0-9]+ passed, [0-9]+ failed$'; then
    echo "FAIL $name: ended with exit code $code" >>"$log"
  fi
}

# Several files at once, their output in order.
run_e2e() {
  local tag=$1 file files=()
  shift
  for file in "$@"; do
    files+=("tests/e2e/$file.py")
  done
  for file in "${files[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do
      wait -n
    done
    run_e2e_file "$file" "$tag" &
  done
  wait
  for file in "${files[@]}"; do
    echo "# $file"
    grep -v ' passed, .* failed$' "$work/log/e2e-$(basename "$file" .py)-$tag.txt"
  done
}

# The longest first, so that the last one does not run alone.
e2e_files() {
  local first=(test_syscall_kill test_random_kill test_cycle50) file
  printf '%s\n' "${first[@]}"
  for file in tests/e2e/test_*.py; do
    file=$(basename "$file" .py)
    [[ " ${first[*]} " == *" $file "* ]] || echo "$file"
  done
}

suite_e2e() {
  export ENVCTL_BIN=$top/build/release/envctl
  if [ -n "$1" ]; then
    run_e2e release "$1"
  else
    # shellcheck disable=SC2046 # names without blanks
    run_e2e release $(e2e_files)
  fi
}

suite_e2e_debug() {
  export ENVCTL_BIN=$top/build/debug/envctl ENVCTL_LUA_DIR=$top/lua
  if [ -n "$1" ]; then
    run_e2e debug "$1"
  else
    run_e2e debug "${DEBUG_E2E[@]}"
  fi
}

# With a mechanism switched off, the test that stands for it has to fail: a test that cannot fail proves nothing.
suite_teeth() {
  python3 tests/e2e/teeth.py "$top/build/teeth"
  tests/teeth.sh
}

suite_fuzz() {
  local target name corpus
  for target in build/fuzz/fuzz_*; do
    if [ ! -f "$target" ] || [ ! -x "$target" ]; then
      continue
    fi
    name=${target##*/fuzz_}
    corpus=tests/fuzz/corpus/$name
    mkdir -p "$work/fuzz/$name"
    # New inputs go to the sandbox; the saved corpus is only read, and there has to be one.
    check "corpus of $name" test -n "$(ls -A "$corpus")"
    while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do
      wait -n
    done
    check "fuzz $name" "$target" -max_total_time="$FUZZ_SECONDS" -timeout=5 -rss_limit_mb=2048 \
      -artifact_prefix="$work/fuzz/" "$work/fuzz/$name" "$corpus" &
  done
  wait
}

# The check of promises can fail.
broken_promise() {
  # shellcheck disable=SC2016 # backticks of Markdown
  python3 tests/lint/guarantees.py /dev/stdin <<<'| x | `tests/c/test_fs.c test_nope` |' | grep 'test_fs.c has no test test_nope'
}

suite_docs() {
  check links tests/lint/links.sh
  check guarantees python3 tests/lint/guarantees.py
  check 'a promise without a test is found' broken_promise
  if [ -x docs/generate.sh ]; then
    check 'generated docs' docs/generate.sh --check
  fi
}

# --- main ------------------------------------------------------------------------------------------------------------

usage() {
  echo "usage: tests/run.sh [SUITE…]; suites: ${SUITES[*]} (e2e:FILE and e2e-debug:FILE take one file)" >&2
  exit 2
}

main() {
  local suite began=$SECONDS wanted=("$@")
  [ ${#wanted[@]} -gt 0 ] || wanted=("${SUITES[@]}")
  for suite in "${wanted[@]}"; do
    printf '%s\n' "${SUITES[@]}" | grep -qxF "${suite%%:*}" || usage
  done
  # Packages and an up-to-date build are what every suite stands on.
  if ! HOME=$work/home .ci/packages.sh build run test; then
    echo "FAIL packages"
    failed=1
    wanted=()
  elif [ "${wanted[0]:-}" != build ]; then
    wanted=(build "${wanted[@]}")
  fi
  for suite in "${wanted[@]}"; do
    case $suite in
      *:*) run_suite "${suite%%:*}" "${suite#*:}" ;;
      *) run_suite "$suite" ;;
    esac
  done
  echo "$((SECONDS - began)) s"
  [ "$skipped" = 0 ] || echo "$skipped could not run on this machine, see the lines that begin with skip"
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ] && [ "$passed" != 0 ]
}

main "$@"
