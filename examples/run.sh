#!/usr/bin/env bash
# Builds envctl and starts the example shop with it. A second run finds everything in place and changes nothing.
#
# The shop lies inside envctl's own repository, so a copy of it is made a repository of its own: build/example/shop.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
envctl=$top/build/release/envctl
copy=$top/build/example/shop

build() {
  local log=$top/build/example/build.log
  mkdir -p "$top/build/example"
  if ! (cd "$top" && { [ -f build/release/build.ninja ] || cmake --preset release; } && cmake --build build/release --target envctl) \
    >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "the build failed; the whole of it is in $log" >&2
    return 1
  fi
}

commit_copy() {
  git -C "$copy" add --all
  git -C "$copy" -c user.name=example -c user.email=example@localhost commit --quiet --message "the shop"
}

# Brings the copy up to date. Files that are equal are left alone, so that a running shop is not disturbed.
make_copy() {
  if [ ! -d "$copy/.git" ]; then
    mkdir -p "$copy"
    git -c init.defaultBranch=main init --quiet "$copy"
  fi
  if ! diff --recursive --brief --exclude=.git --exclude=__pycache__ "$top/examples/shop" "$copy" >/dev/null; then
    cp -R "$top/examples/shop/." "$copy"
    commit_copy
  fi
}

# Prints "name url" of every service that has a URL.
urls() {
  "$envctl" show-state --json | python3 -c '
import json, sys
for name, service in sorted(json.load(sys.stdin)["state"]["services"].items()):
    if service["url"]:
        print(service["service"], service["url"])'
}

answers() {
  curl --fail --silent --show-error --max-time 5 --output /dev/null "$1"
}

"$top/.ci/packages.sh" build run
build
make_copy
cd "$copy"
"$envctl" --headless
echo
while read -r name url; do
  path=/
  [ "$name" = backend ] && path=/healthz
  answers "$url$path"
  echo "$name answers at $url"
done < <(urls)
answers "$(urls | sed -n 's/^frontend //p')/api/products"
cat <<TXT

The page is at $(urls | sed -n 's/^frontend //p'). To look around and to stop it:

  cd $copy
  $envctl logs --all
  $envctl stop-all
TXT
