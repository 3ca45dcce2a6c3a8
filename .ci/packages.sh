#!/usr/bin/env bash
# The Debian packages this project needs, in one place. Installs what is missing, and only that.
#
#   .ci/packages.sh build run test    make sure these sections are there
#   .ci/packages.sh --list test       print a section
#
# `name:command` means: any `command` on PATH will do, whoever installed it.
set -euo pipefail

# To build envctl.
build=(gcc libc6-dev cmake ninja-build:ninja pkg-config liblua5.4-dev lua-cjson-dev libuv1-dev libgit2-dev git:git)

# To run examples/shop and look at it.
run=(python3:python3 nodejs:node npm:npm curl:curl)

# To test: static checks, sanitizers and fuzzers, C and Lua tests, tracing and a terminal for the end-to-end tests.
test=(clang:clang libclang-rt-dev clang-format:clang-format clang-tidy:clang-tidy cppcheck:cppcheck lua-check:luacheck
  shellcheck:shellcheck libcmocka-dev lua-unit strace:strace tmux:tmux libvterm-dev ccache:ccache util-linux:setpriv iproute2:ip
  zsh:zsh fish:fish redis-server:redis-server redis-tools:redis-cli postgresql python3-psycopg2 python3-redis docker.io:dockerd
  podman:podman python3-venv python3-fastapi python3-uvicorn python3-flask python3-django)

section() {
  case $1 in
    build) printf '%s\n' "${build[@]}" ;;
    run) printf '%s\n' "${run[@]}" ;;
    test) printf '%s\n' "${test[@]}" ;;
    *) echo "$0: no section $1 (there are build, run and test)" >&2 && return 1 ;;
  esac
}

# A package is there when dpkg says so, or when its command is.
missing() {
  local wanted installed entry package command
  wanted=$(for name in "$@"; do section "$name"; done)
  installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p')
  for entry in $wanted; do
    package=${entry%%:*}
    command=${entry#"$package"}
    command=${command#:}
    if [ -n "$command" ] && command -v "$command" >/dev/null; then
      continue
    fi
    grep -qxF "$package" <<<"$installed" || echo "$package"
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "$0: not root, and there is no sudo: install these yourself and run this again" >&2
    return 1
  fi
}

install_packages() {
  local log
  log=$(mktemp)
  echo "installing: $*"
  if ! as_root apt-get update -q >"$log" 2>&1 ||
    ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

main() {
  local packages
  if [ "${1:-}" = --list ]; then
    shift
    for name in "$@"; do section "$name"; done
    return
  fi
  packages=$(missing "$@")
  if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # a list of words
    install_packages $packages
  fi
}

main "$@"
