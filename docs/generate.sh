#!/usr/bin/env bash
# Writes the generated documents from the tables in lua/envctl: docs/reference/{commands,config}.md, docs/man/envctl.1.
#
#   docs/generate.sh           writes them
#   docs/generate.sh --check   only says whether they are as they should be (exit 1 when not)
#
# The binary: $ENVCTL_BIN, else build/release/envctl, else build/debug/envctl. Lua is read from this checkout in any case.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"

binary=${ENVCTL_BIN:-}
for candidate in build/release/envctl build/debug/envctl; do
  if [ -z "$binary" ] && [ -x "$candidate" ]; then
    binary=$candidate
  fi
done
if [ -z "$binary" ]; then
  echo 'generate.sh: build envctl first: cmake --preset release && cmake --build --preset release' >&2
  exit 1
fi
export ENVCTL_LUA_DIR=$top/lua

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stale=0

# document NAME FILE: makes one, and compares or replaces it.
document() {
  "$binary" __docs "$1" >"$work/$1"
  if [ "${mode:-}" = check ]; then
    if ! cmp -s "$work/$1" "$2"; then
      echo "generate.sh: $2 is stale; run docs/generate.sh" >&2
      diff -u "$2" "$work/$1" | head -n 20 >&2 || true
      stale=1
    fi
  elif ! cmp -s "$work/$1" "$2"; then
    mkdir -p "$(dirname "$2")"
    cp "$work/$1" "$2"
    echo "wrote $2"
  fi
}

case ${1:-} in
  '') mode='write' ;;
  --check) mode=check ;;
  *)
    echo 'usage: docs/generate.sh [--check]' >&2
    exit 1
    ;;
esac

document commands docs/reference/commands.md
document config docs/reference/config.md
document scripting docs/reference/scripting.md
document man docs/man/envctl.1
exit "$stale"
