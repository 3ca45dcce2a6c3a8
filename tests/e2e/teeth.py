#!/usr/bin/env python3
"""Tests of the tests: with a mechanism switched off, the test that stands for it has to fail. `teeth.py BUILD_DIR [NAME…]`.

Mechanisms in C are switched off in the `teeth` build by ENVCTL_FAULT. Mechanisms in Lua are switched off by a change to a copy of
the policy, which the program reads from disk; a change that no longer applies is a failure too, so that this list keeps up."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]

# (what is switched off, test file, its tests, faults of the C side, [(Lua file, text, what stands there instead)])
TEETH = [
    ("gated spawn", "test_syscall_kill", ["keeper_in_a_start"], "no_gate", []),
    ("identity of a process", "test_keeper_kill", ["a_reused_pid_is_a_stranger"], "no_identity_check", []),
    ("atomic writes", "test_syscall_kill", ["keeper_in_a_start", "keeper_in_a_stop"], "in_place_write", []),
    (
        "record before the gate opens",
        "test_syscall_kill",
        ["keeper_in_a_start"],
        None,
        [("keeper/apply.lua", "    launch(op, item)\n  end\n  op.world:save(true)\n", "    launch(op, item)\n  end\n")],
    ),
    (
        "adoption",
        "test_keeper_kill",
        ["the_next_start_adopts"],
        None,
        [("keeper/world.lua", "  if self.doc then\n    self:adopt()\n  end\n", "")],
    ),
    (
        "evidence from the service's own processes",
        "test_flow_r23",
        ["a_service_that_never_listens_is_not_ready_by_a_stranger"],
        None,
        [
            (
                "keeper/readiness.lua",
                "    local own = own_listeners(record, wanted)\n    if",
                "    local own = { { port = wanted, pid = record.pid, addr = '127.0.0.1' } }\n    if",
            )
        ],
    ),
    (
        "all processes of a service, not the leader alone",
        "test_stop",
        ["children_go_with_their_service", "children_of_a_dead_leader_are_found"],
        "no_cgroup",
        [("resume/observe.lua", "marker = record.marker, log = record.log_path, cgroup = record.cgroup", "marker = nil")],
    ),
    (
        "SIGKILL after the grace period",
        "test_bad_input",
        ["a_service_that_ignores_term"],
        None,
        [("keeper/ending.lua", "procfs.signal_members(queries, 'KILL')", "procfs.signal_members(queries, 'TERM')")],
    ),
    (
        "roll-back of a failed start",
        "test_bad_input",
        ["a_service_that_exits_at_once"],
        None,
        [("keeper/apply.lua", "  for _, svc in ipairs(op.started) do\n    if world", "  for _, svc in ipairs {} do\n    if world")],
    ),
    (
        "a clean environment for children",
        "test_start_stop",
        ["what_runs_is_what_the_state_says"],
        None,
        [("keeper/child_env.lua", "not OWN[name] and (not guarded or ALLOWED[name])", "true")],
    ),
    (
        "one operation at a time",
        "test_bad_input",
        ["busy_names_the_other_one"],
        None,
        [("keeper/server.lua", "  local busy = keeper.op\n", "  local busy = nil\n")],
    ),
    (
        "control bytes kept from the terminal",
        "test_bad_input",
        ["binary_garbage"],
        None,
        [("ui/clean.lua", "  if not text:find('[^\\32-\\126\\t]') then", "  if true then")],
    ),
    (
        "going when idle",
        "test_stop",
        ["the_keeper_goes_when_idle"],
        None,
        [("keeper/server.lua", "  if keeper.world:idle() then", "  if false then")],
    ),
    (
        "checks of the runtime root before it is read",
        "test_runtime_root",
        ["the_root_itself"],
        None,
        [("state/paths.lua", "fs.secure_dir(path, { create = false })", "fs.stat(path)")],
    ),
    (
        "trimming of logs",
        "test_logs",
        ["the_cap_is_kept_by_the_next_keeper"],
        None,
        [("keeper/logs.lua", "    if max then\n", "    if false then\n")],
    ),
    (
        "times of logs",
        "test_logs",
        ["since"],
        None,
        [("keeper/logs.lua", "      log_times.note(path, sys.wall_ms(), noted)\n", "      log_times.note(path, sys.wall_ms(), 0)\n")],
    ),
    (
        "old runs go",
        "test_logs",
        ["old_runs_go"],
        None,
        [("state/runs.lua", "      fs.remove_tree(", "      fs.stat(")],
    ),
    (
        "text from outside is cleaned on its way out",
        "test_hostile_text",
        ["in_names"],
        None,
        [("ui/out.lua", "sys.write(1, clean(line)", "sys.write(1, (line)")],
    ),
    ("a fresh line after a torn one", "test_events", ["torn_at_any_byte"], "no_fresh_line", []),
]

# With this switched off the tests still pass: there is a second line behind the first.
STILL_HOLDS = [
    ("no control groups", "test_stop", [], "no_cgroup"),
    ("no control groups", "test_random_kill", [], "no_cgroup"),
]


def policy_with(changes, directory):
    """A copy of lua/ with the changes made."""
    shutil.copytree(TOP / "lua", directory / "lua")
    for name, old, new in changes:
        path = directory / "lua/envctl" / name
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise LookupError(f"{name} has {text.count(old)} places that read {old!r}: this entry of the list is out of date")
        path.write_text(text.replace(old, new), encoding="utf-8")
    return directory / "lua"


def bites(build, file, tests, fault, changes):
    """Runs the tests against the crippled program. Returns (whether one failed, their output)."""
    with tempfile.TemporaryDirectory() as temporary:
        env = dict(os.environ, ENVCTL_BIN=str(build / "envctl"), ENVCTL_TEST_PATIENCE="1", PYTHONDONTWRITEBYTECODE="1")
        env["ENVCTL_LUA_DIR"] = str(policy_with(changes, Path(temporary)) if changes else TOP / "lua")
        if fault:
            env["ENVCTL_FAULT"] = fault
        result = subprocess.run(
            [sys.executable, str(HERE / f"{file}.py"), *tests],
            env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
        )
    failed = result.returncode == 1 and "FAIL " in result.stdout and "Traceback" not in result.stdout
    return failed, result.stdout + result.stderr


def main():
    build, wanted = Path(sys.argv[1]).resolve(), sys.argv[2:]
    bad = 0
    for what, file, tests, fault, changes in TEETH:
        if wanted and what not in wanted:
            continue
        try:
            failed, output = bites(build, file, tests, fault, changes)
        except LookupError as e:
            failed, output = False, str(e)
        if failed:
            print(f"ok without it the test fails: {what}", flush=True)
        else:
            bad += 1
            print(f"FAIL without it the test passes (or does not run): {what}: {file} {' '.join(tests)}", flush=True)
            print("    " + output[-3000:].rstrip().replace("\n", "\n    "), flush=True)
    for what, file, tests, fault in STILL_HOLDS:
        if wanted and what not in wanted:
            continue
        failed, output = bites(build, file, tests, fault, [])
        if " 0 failed" in output and not failed:
            print(f"ok still holds with {what}: {file}", flush=True)
        else:
            bad += 1
            print(f"FAIL does not hold with {what}: {file}", flush=True)
            print("    " + output[-3000:].rstrip().replace("\n", "\n    "), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
