#!/usr/bin/env bash
# What envctl's everyday commands cost, beside `git status` and `python3 -c pass` in the same run; what a script of 1,000 lines adds
# to explain-startup; what every inspection command costs in a crowded repository (50 worktrees, 200 plan files); and what
# `envctl --headless` adds to starting the same two programs by hand. Only prints: nothing is asserted, for the machine may be busy.
#
#   tests/bench/bench.sh [rounds of the commands] [rounds of the starts]
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rounds=${1:-40}
starts=${2:-10}
envctl=${ENVCTL_BIN:-$top/build/release/envctl}
work=$(mktemp -d)
repo=$work/shop
export HOME=$work/home XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config RUN_SH_RUNTIME_DIR=$work/runtime
export PYTHONDONTWRITEBYTECODE=1
by_hand=
# The interpreter itself: what is on PATH may be a version manager's script.
python=$(python3 -c 'import sys; print(sys.executable)')

clean_up() {
  [ -z "$by_hand" ] || stop_by_hand
  (cd "$repo" 2>/dev/null && "$envctl" stop-all >/dev/null 2>&1) || true
  rm -rf "$work"
}
trap clean_up EXIT

prepare() {
  "$top/.ci/packages.sh" build run
  if [ -z "${ENVCTL_BIN:-}" ] &&
    ! (cd "$top" && cmake --preset release && cmake --build build/release --target envctl) >"$work/build.log" 2>&1; then
    cat "$work/build.log" >&2
    return 1
  fi
  gcc -O2 -o "$work/measure" "$top/tests/bench/measure.c"
  mkdir -p "$HOME"
  cp -R "$top/examples/shop" "$repo"
  cd "$repo"
  sed -i 's/^BACKEND_PORT_BASE=.*/BACKEND_PORT_BASE=18800/; s/^FRONTEND_PORT_BASE=.*/FRONTEND_PORT_BASE=18810/' .envctl
  git -c init.defaultBranch=main init -q
  git add -A
  git -c user.name=bench -c user.email=bench@localhost commit -q -m shop
}

# A script of 1,000 lines, most of them code: what a repository that scripts a lot would have.
write_script() {
  python3 - >"$work/envctl.lua" <<'PY'
lines = ["-- Ports and variables of the shop.", "local names = {}"]
while len(lines) < 940:
    n = len(lines)
    lines += [
        "local function variables(base, ctx)", f"  local out = {{ LEVEL_{n} = tostring({n}) }}",
        "  for name, value in pairs(base) do", f"    if value ~= ctx.x{n} then -- the {n}th of them",
        f"      out[name] = value .. \"{n}\"", "    end", "  end", "  return out", "end", f"names[{n}] = variables",
        ""] if n < 400 else [f"names.key_{n} = function(ctx) return ctx.port and ctx.port + {n} or \"none\" end"]
lines += ["return {", "  envctl = 1,", "  services = {"]
while len(lines) < 985:
    lines.append(f"    worker_{len(lines)} = {{ command = \"sleep 1\", listens = false, enable_if = \"workers/{len(lines)}\" }},")
lines += ["  },", "  override = {", "    [\"plan.ports\"] = function(base, ctx)", "      local ports = base(ctx)"]
while len(lines) < 996:
    lines.append("      -- the bases are as they are")
print("\n".join(lines + ["      return ports", "    end,", "  },", "}"]))
PY
  [ "$(wc -l <"$work/envctl.lua")" = 1000 ]
}

# What loading it adds: the same command with and without, in turns.
measure_script() {
  local n
  write_script
  for ((n = 0; n < rounds; n++)); do
    echo "explain-startup, no script|$("$work/measure" "$envctl" explain-startup --json)"
    printf 'return { envctl = 1 }\n' >.envctl.lua
    echo "explain-startup, 1 line|$("$work/measure" "$envctl" explain-startup --json)"
    cp "$work/envctl.lua" .envctl.lua
    echo "explain-startup, 1,000 lines|$("$work/measure" "$envctl" explain-startup --json)"
    rm .envctl.lua
  done
}

# One round of everything after the other, many times: whatever else the machine does falls on all alike.
measure_commands() {
  local n
  for ((n = 0; n < rounds; n++)); do
    echo "git status|$("$work/measure" git status)"
    echo "python3 -c pass|$("$work/measure" "$python" -c pass)"
    echo "envctl --version|$("$work/measure" "$envctl" --version)"
    echo "envctl list-commands|$("$work/measure" "$envctl" list-commands)"
    echo "envctl show-config --json|$("$work/measure" "$envctl" show-config --json)"
    echo "envctl explain-startup --json|$("$work/measure" "$envctl" explain-startup --json)"
  done
}

# A repository as it looks after some months: 50 worktrees in trees/, 200 plan files.
crowd() {
  local n
  for n in $(seq -w 1 200); do
    mkdir -p "todo/plans/group${n:0:2}"
    printf '# Plan %s\n\nDo it.\n' "$n" >"todo/plans/group${n:0:2}/plan$n.md"
  done
  git add -A
  git -c user.name=bench -c user.email=bench@localhost commit -q -m plans
  for n in $(seq -w 1 50); do
    git worktree add -q -b "group00_plan0$n-1" "trees/group00_plan0$n/1" HEAD
  done
}

INSPECTION=(
  "--version" "help" "help start" "list-commands --json" "list-targets --json" "list-targets --trees --json" "list-trees --json"
  "show-config --json" "show-state --json" "explain-startup --json" "explain-startup --trees --json"
  "explain-startup plan group00/plan001 --json" "explain-startup resume --json" "endpoints --json" "ports --json" "doctor --json"
  "install-prompts --cli all --dry-run --json" "completion bash" "script points"
)

# The same commands twice: where `show-state` finds nothing it ends with 1, which is no failure here.
measure_inspection() {
  local n command
  for ((n = 0; n < rounds / 2 + 1; n++)); do
    echo "git status|$("$work/measure" git status | sed 's/ [0-9]*$/ 0/')"
    for command in "${INSPECTION[@]}"; do
      # shellcheck disable=SC2086 # the words of a command
      echo "envctl $command|$("$work/measure" "$envctl" $command | sed 's/ [0-9]*$/ 0/')"
    done
  done
}

# Both commands as the plan has them, so that the same programs are started.
plan_field() {
  "$envctl" explain-startup --json | python3 -c '
import json, shlex, sys
service = next(s for p in json.load(sys.stdin)["plan"]["projects"] for s in p["services"] if s["name"] == sys.argv[1])
words = service["command"]
env = [f"{k}={v}" for k, v in sorted(service["env"].items()) if v != "***"]
print("cd", shlex.quote(sys.argv[1]), "&& exec env", " ".join(map(shlex.quote, env + words)))' "$1"
}

write_by_hand() {
  cat >"$work/by-hand.sh" <<SH
setsid sh -c '$(plan_field backend)' >"$work/b.log" 2>&1 </dev/null &
echo \$! >"$work/pids"
setsid sh -c '$(plan_field frontend)' >"$work/f.log" 2>&1 </dev/null &
echo \$! >>"$work/pids"
until curl -fs -o "$work/answer" http://127.0.0.1:18800/healthz; do sleep 0.005; done
until curl -fs -o "$work/answer" http://127.0.0.1:18810/; do sleep 0.005; done
SH
}

# Ends the two sessions that by-hand.sh made, and waits until their ports are free.
stop_by_hand() {
  local pid
  while read -r pid; do
    kill -TERM -- "-$pid" 2>/dev/null || true
  done <"$work/pids"
  by_hand=
  until ! curl -s -o "$work/answer" http://127.0.0.1:18800/ && ! curl -s -o "$work/answer" http://127.0.0.1:18810/; do
    sleep 0.01
  done
}

measure_starts() {
  local n
  write_by_hand
  for ((n = 0; n < starts; n++)); do
    by_hand=1
    echo "by hand with sh|$("$work/measure" sh "$work/by-hand.sh")"
    stop_by_hand
    echo "envctl --headless|$("$work/measure" "$envctl" --headless)"
    "$envctl" stop-all >/dev/null 2>&1
  done
}

# Medians, and the ratio of each wall time to the first row's.
table() {
  python3 -c '
import statistics, sys
rows = {}
for line in sys.stdin:
    name, numbers = line.rstrip().split("|")
    wall, rss, code = map(int, numbers.split())
    if code:
        sys.exit(f"{name}: exit code {code}")
    rows.setdefault(name, []).append((wall / 1000, rss / 1024))
walls = {name: statistics.median(w for w, _ in values) for name, values in rows.items()}
first = next(iter(walls))
print("%-50s %9s %9s %9s   of %s" % ("", "median", "best", "max RSS", first))
for name, values in rows.items():
    best, rss = min(w for w, _ in values), max(r for _, r in values)
    print(f"{name:50} {walls[name]:6.1f} ms {best:6.1f} ms {rss:6.1f} MB   {walls[name] / walls[first]:.2f}x")
if "explain-startup, no script" in walls:
    added = walls["explain-startup, 1,000 lines"] - walls["explain-startup, no script"]
    best = min(w for w, _ in rows["explain-startup, 1,000 lines"]) - min(w for w, _ in rows["explain-startup, no script"])
    print(f"a script of 1,000 lines adds {added:.1f} ms to explain-startup ({best:.1f} ms from best to best)")
if "by hand with sh" in walls:
    added = walls["envctl --headless"] - walls["by hand with sh"]
    best = min(w for w, _ in rows["envctl --headless"]) - min(w for w, _ in rows["by hand with sh"])
    print(f"envctl --headless adds {added:.0f} ms to starting both by hand ({best:.0f} ms from best to best)")'
}

prepare
echo "$rounds interleaved rounds, $(nproc) cores"
measure_commands | table
echo
measure_script | table
echo
echo "$starts interleaved starts to both answering"
measure_starts | table
echo
echo "every inspection command with 50 worktrees and 200 plan files, $((rounds / 2 + 1)) interleaved rounds"
crowd
measure_inspection | table
