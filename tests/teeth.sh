#!/usr/bin/env bash
# Teeth of the C tests: with a mechanism switched off, the test that stands for it has to fail, for a test that cannot fail proves
# nothing. tests/e2e/teeth.py does the same for the whole program.
#
#   tests/teeth.sh [BUILD_DIR]     default build/teeth, which is built first
set -u

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${1:-$top/build/teeth}
work=$(mktemp -d "${TMPDIR:-/tmp}/envctl-teeth.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work
passed=0
failed=0

report() {
  local ok=$1 what=$2
  if [ "$ok" = 1 ]; then
    passed=$((passed + 1))
    echo "ok $what"
  else
    failed=$((failed + 1))
    echo "FAIL $what"
    tail -n 30 "$work.log" | sed 's/^/    /'
  fi
}

# Runs a test program with that fault ("" for none). Its exit code is kept in $code, its output in $work.log.
run() {
  local fault=$1 program=$2
  ENVCTL_FAULT=$fault timeout 300 "$build/$program" >"$work.log" 2>&1 </dev/null
  code=$?
}

# With nothing switched off everything holds.
holds() {
  local program=$1
  run "" "$program"
  report "$((code == 0))" "$program holds"
}

# With the fault the program fails, by a failed test that shows this line, and not by a crash or a time-out.
bites() {
  local fault=$1 program=$2 line=$3 good=0
  run "$fault" "$program"
  if [ "$code" != 0 ] && [ "$code" -lt 124 ] && grep -Eq "$line" "$work.log"; then
    good=1
  fi
  report "$good" "$program fails with $fault ($line)"
}

# With the fault the program still passes, but tells something else.
shows() {
  local fault=$1 program=$2 line=$3 good=0
  run "$fault" "$program"
  if [ "$code" = 0 ] && grep -Eq "$line" "$work.log"; then
    good=1
  fi
  report "$good" "$program shows with $fault: $line"
}

main() {
  if ! (cd "$top" && { [ -f "$build/build.ninja" ] || cmake --preset teeth -B "$build"; } && cmake --build "$build") \
    >"$work.log" 2>&1; then
    report 0 "build of $build"
  else
    export ENVCTL_ROUNDS=60 ENVCTL_CYCLES=30
    local program
    for program in test_save_kill test_append test_proc test_proc_life test_reuse test_members; do
      holds "$program"
    done
    # R01: a file that is written in place is found half written.
    bites in_place_write test_save_kill '^bar R01 FAIL'
    # R07: a line after a torn one is lost with it.
    bites no_fresh_line test_append '^bar R07 FAIL'
    # R03: children run before anybody has recorded them, and outlive a parent that was killed.
    bites no_gate test_proc '^\[  FAILED  \] test_nothing_runs_before_the_gate_opens'
    bites no_gate test_proc '^bar R03 FAIL'
    # R12: a stranger with the recorded pid is signalled.
    bites no_identity_check test_reuse '^bar R12 FAIL'
    # R14: without control groups half of the matrix is left, and the two kinds that hide from everything else are not found.
    if "$build/test_members" 2>/dev/null | grep -q '^bar R14 PASS 32/32'; then
      shows no_cgroup test_members '^bar R14 PASS 16/16'
      shows no_cgroup test_members '^# kind 7, leader dead, without cgroup: not found'
    else
      echo "# no control groups on this machine: no_cgroup changes nothing"
    fi
  fi
  rm -f "$work.log"
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ] && [ "$passed" != 0 ]
}

main
