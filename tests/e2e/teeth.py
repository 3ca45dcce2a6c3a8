#!/usr/bin/env python3
"""Tests of the tests: with a mechanism switched off, the test that stands for it has to fail. `teeth.py BUILD_DIR [NAME…]`.

Mechanisms in C are switched off in the `teeth` build by ENVCTL_FAULT. Mechanisms in Lua are switched off by a change to a copy of
the policy, which the program reads from disk; a change that no longer applies is a failure too, so that this list keeps up."""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
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
        "ports of what a dead service left behind",
        "test_wrappers",
        ["a_child_that_keeps_the_port_of_a_dead_one"],
        None,
        [("plan/ports.lua", "fact.alive ~= false or fact.keeps_port", "fact.alive ~= false")],
    ),
    (
        "saves that reach the disk",
        "test_faults",
        ["the_power_goes"],
        None,
        [("state/store.lua", "json.encode(M.present(doc)))\nend", "json.encode(M.present(doc)), { durable = false })\nend")],
    ),
    (
        "the Python engine's services: doubt",
        "test_python_state",
        ["what_cannot_be_proven_is_left_alone"],
        None,
        [("state/python.lua", "or not leader and doubt(record) or nil", "or nil")],
    ),
    (
        "the Python engine's services: proof",
        "test_python_state",
        ["a_pid_that_is_somebody_elses_now"],
        None,
        [("state/python.lua", "record.identity = leader and", "leader = leader or record\n    record.identity = leader.pid and")],
    ),
    (
        "the Python engine itself",
        "test_python_state",
        ["an_engine_that_still_runs"],
        None,
        [("state/python.lua", "leader and engine_of(record, members) or ", "")],
    ),
    (
        "the Python engine's file: whose it is",
        "test_python_state",
        ["a_file_that_somebody_planted"],
        None,
        [("state/python.lua", " and ours(file, 'file') then", " then")],
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
        [("keeper/child_env.lua", "not DROPPED[name] and (not guarded or ALLOWED[name])", "true")],
    ),
    (
        "a step that is due is not done",
        "test_prepare_tools",
        ["killed_between_two_steps"],
        None,
        [("keeper/prepare.lua", "if not step.always and not (record and", "if false and not (record and")],
    ),
    (
        "what a step makes has to be there",
        "test_prepare_tools",
        ["packages_of_python"],
        None,
        [("prepare/steps.lua", "if record and record.located and", "if false and")],
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
        "no writes below what became a link",
        "test_runtime_root",
        ["a_link_in_its_place_while_it_runs"],
        None,
        [("state/paths.lua", "  local ok, e = pcall(M.check, p)\n", "  local ok, e = true, nil\n")],
    ),
    (
        "what runs moves along",
        "test_lifecycle",
        ["a_restart_that_has_to_move_tells_the_others"],
        None,
        [("plan/startup.lua", "    chosen.add_moved(facts, draft.chosen, draft.ports)\n", "")],
    ),
    (
        "no second one beside what does not end",
        "test_stop",
        ["what_does_not_end_is_not_forgotten"],
        None,
        [("keeper/apply.lua", "      err.raise('not_stopped', result.message, { hint = 'nothing was started' })\n", "      op.errors = {}\n")],
    ),
    (
        "one table of ports for all repositories",
        "test_ports_shared",
        ["overtaken_between_plan_and_start"],
        None,
        [("state/ports_table.lua", "        if w then\n", "        if false then\n")],
    ),
    (
        "reservations of repositories that are gone",
        "test_ports_shared",
        ["two_repositories_and_kills"],
        None,
        [("state/ports_table.lua", "known[root] = code ~= 'ENOENT' and code ~= 'ENOTDIR'", "known[root] = true")],
    ),
    (
        "a look at the ports, on both families",
        "test_ports_shared",
        ["a_stranger_on_ipv6_alone"],
        None,
        [("facts.lua", "        local free, message, code = probe(number)", "        local free, message, code = true, nil, nil")],
    ),
    (
        "the budget of worktrees that start at once",
        "test_trees_many",
        ["twenty_and_one_of_them_fails"],
        None,
        [("keeper/apply.lua", "task.slots(op.projects_at_once)", "task.slots(1000)")],
    ),
    (
        "a worktree that fails is undone alone",
        "test_trees_many",
        ["twenty_and_one_of_them_fails"],
        None,
        [("keeper/apply.lua", "          give_up(op, project.name, e)\n", "          error(e, 0)\n")],
    ),
    (
        "the budget of steps of all repositories",
        "test_prepare_machine",
        ["a_slot_is_given_back"],
        None,
        [("keeper/prepare.lua", "if caller and caller:find '@[^/]*$' then", "if true then")],
    ),
    (
        "a stop where no keeper can listen",
        "test_faults",
        ["a_read_only_disk_without_a_keeper"],
        None,
        [("keeper/client.lua", "elseif not (result.data and err.DISK[result.data.errno]) then", "else")],
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
    ("identity of what is recorded", "test_resume", ["the_truth_of_generated_worlds"], "no_identity_check", []),
    (
        "a reboot is noticed",
        "test_resume",
        ["after_a_reboot"],
        None,
        [("resume/observe.lua", "  return procfs.alive(record.identity)", "  return require('envctl.host.fs').stat('/proc/' .. record.pid) ~= nil")],
    ),
    (
        "records are of their own mode",
        "test_resume",
        ["each_mode_returns_to_its_own"],
        None,
        [("plan/reuse.lua", "(record.mode or state.mode) == facts.mode", "state.mode == facts.mode")],
    ),
    (
        "what a script leaves out blocks",
        "test_resume",
        ["what_a_script_leaves_out_is_not_touched"],
        None,
        [("plan/reuse.lua", "action = 'unknown',", "action = 'start',")],
    ),
]

# Worktrees (R29 to R33): (what is switched off, its tests, Lua file, text, what stands there instead)
WORKTREES = {
    "test_worktrees_loss": [
        ("the guard: modified", "delete_modified", "repo/guard.lua", "      if y ~= '.' then", "      if false then"),
        ("the guard: staged", "scale_staged_only", "repo/guard.lua", "      if x ~= '.' then", "      if false then"),
        ("the guard: conflicted", "delete_conflict", "repo/guard.lua", "kind == 'u' then", "kind == 'U' then"),
        ("the guard: untracked", "blast_untracked", "repo/guard.lua", "      if name:sub(-1) ~= '/' then", "      if false then"),
        ("the guard: untracked and not shown", "delete_untracked_unseen", "repo/guard.lua", "'--untracked-files=all', ", ""),
        ("the guard: ignored", "delete_ignored_data scale_ignored_file", "repo/guard.lua", "kind == '!' then", "false then"),
        (
            "the guard: behind flags", "delete_skip_worktree delete_assume_unchanged", "repo/guard.lua",
            "    look_behind_flags(found, roots, root, config)\n", "",
        ),
        (
            "the guard: nested repositories", "delete_nested_repository blast_nested_in_ignored", "repo/guard.lua",
            "    look_for_repositories(found, root, '')\n", "",
        ),
        (
            "the guard: bare repositories", "delete_bare_in_ignored", "repo/guard.lua",
            "rel ~= '' and is_bare_repository", "false and is_bare",
        ),
        (
            "the guard: operations", "delete_rebase delete_cherry_pick", "repo/guard.lua",
            "fs.lstat(admin .. '/' .. name) then", "false then",
        ),
        ("the guard: locked", "delete_locked", "repo/guard.lua", "  if why then", "  if false then"),
        (
            "the guard: locks of git", "delete_index_lock", "repo/guard.lua",
            "    if entry.name:find '%.lock$' then", "    if false then",
        ),
        ("the guard: unreachable commits", "delete_detached", "repo/guard.lua", "  if count ~= '0' then", "  if false then"),
        ("pins", "delete_detached delete_staged_only", "repo/trash.lua", "      pin(roots, admin, record)\n", ""),
        ("pins of what is staged", "delete_staged_only", "repo/trash.lua", "  staged_objects(call, record.head, objects)\n", ""),
        ("the administration directory in the trash", "delete_staged", "repo/trash.lua", "  move_admin(roots, record)\n", ""),
    ],
    "test_worktrees_kill": [
        (
            "cleaning up half-made worktrees", "a_making_killed_in_the_checkout_is_cleaned_up", "repo/worktrees.lua",
            "        clean_up(roots, entry)\n      end\n      out", "      end\n      out",
        ),
        (
            "waiting for the git of a killed recover", "the_git_of_a_killed_recover_is_waited_for", "repo/trash.lua",
            "function M.restore(roots, record, to)\n  gitcmd.wait_for(record.id, record.path)\n", "function M.restore(roots, record, to)\n",
        ),
        ("finishing half-done removals", "a_removal_killed_before_the_move_is_taken_back", "repo/worktrees.lua", "  trash.settle(roots)\n", ""),
        (
            "one maker of worktrees at a time", "the_second_waits_for_the_first", "repo/meta.lua",
            "  until lock\n", "  until true\n  lock = lock or fs.flock(file .. sys.getpid())\n",
        ),
    ],
    "test_hostile_names": [
        ("names of worktrees, hostile", "features_bases_and_branches", "repo/worktrees.lua", "  M.check_name(feature, 'feature')\n", ""),
        (
            "names of branches", "branches_that_git_has", "commands/import.lua", "  worktrees.check_name(name, 'branch')\n", "",
        ),
        ("no shell", "plans", "repo/gitcmd.lua", "      argv = argv,\n",
         "      argv = { '/bin/sh', '-c', table.concat(argv, ' ') },\n"),
        (
            "where a worktree may lie", "a_repository_below_a_hostile_path", "repo/worktrees.lua", "  if dir:find '[\\r\\n]' then",
            "  if false then",
        ),
    ],
    "test_worktrees_plan": [
        ("no hooks", "planted_programs_do_not_run", "repo/gitcmd.lua", "  'core.hooksPath=/dev/null', ", "  "),
        ("no file system monitor", "planted_programs_do_not_run", "repo/gitcmd.lua", "'core.fsmonitor=false', ", ""),
        ("no filters while looking", "planted_programs_do_not_run", "repo/guard.lua", "gitcmd.no_filters(roots, root)", "{}"),
        (
            "no GIT_* of the caller", "planted_programs_do_not_run", "repo/gitcmd.lua",
            "name:sub(1, 4) ~= 'GIT_' or KEPT[name]", "true",
        ),
        (
            "no git of the repository", "planted_programs_do_not_run", "repo/gitcmd.lua",
            "sys.which('git', { avoid = roots.root })", "sys.which('git', {})",
        ),
        (
            "locks of git are left alone", "locks_of_git_are_named_and_left_alone", "repo/gitcmd.lua",
            "    local stat = require('envctl.host.fs').lstat(lock)", "    local stat = require('envctl.host.fs').unlink(lock) and nil",
        ),
        (
            "links below the trees directory", "links_are_not_followed", "repo/worktrees.lua",
            "      check_place(path.parent(tree.path))\n", "",
        ),
        ("names of worktrees", "odd_names", "repo/worktrees.lua", "  M.check_name(feature, 'feature')\n", ""),
    ],
}
for _file, _cases in WORKTREES.items():
    for _what, _tests, _path, _old, _new in _cases:
        TEETH.append((_what, _file, _tests.split(), None, [(_path, _old, _new)]))

# With this switched off the tests still pass: there is a second line behind the first.
STILL_HOLDS = [
    ("no control groups", "test_stop", [], "no_cgroup"),
    ("no control groups", "test_random_kill", [], "no_cgroup"),
    ("no control groups", "test_wrappers", [], "no_cgroup"),
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


def bites(build, file, tests, fault, changes, seed=""):
    """Runs the tests against the crippled program. Returns (whether one failed, their output)."""
    with tempfile.TemporaryDirectory() as temporary:
        env = dict(os.environ, ENVCTL_BIN=str(build / "envctl"), ENVCTL_TEST_PATIENCE="1", PYTHONDONTWRITEBYTECODE="1")
        env["ENVCTL_LUA_DIR"] = str(policy_with(changes, Path(temporary)) if changes else TOP / "lua")
        if fault:
            env["ENVCTL_FAULT"] = fault
        if seed:
            env["ENVCTL_SEED"] = seed
        result = subprocess.run(
            [sys.executable, str(HERE / f"{file}.py"), *tests],
            env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
        )
    failed = result.returncode == 1 and "FAIL " in result.stdout and "Traceback" not in result.stdout
    return failed, result.stdout + result.stderr


def look(build, what, file, tests, fault, changes):
    """One entry of the first list. Where a test kills at random moments, it may pass by luck: it is tried with other moments."""
    output = ""
    for seed in ("", "1", "2"):
        try:
            failed, output = bites(build, file, tests, fault, changes, seed)
        except LookupError as e:
            failed, output = False, str(e)
        if failed:
            return True, f"without it the test fails: {what}", output
    return False, f"without it the test passes (or does not run): {what}: {file} {' '.join(tests)}", output


def hold(build, what, file, tests, fault):
    """One entry of the second list."""
    failed, output = bites(build, file, tests, fault, [])
    good = " 0 failed" in output and not failed
    return good, f"{'still holds' if good else 'does not hold'} with {what}: {file}", output


def main():
    build, wanted = Path(sys.argv[1]).resolve(), sys.argv[2:]
    work = [(look, *entry) for entry in TEETH] + [(hold, *entry) for entry in STILL_HOLDS]
    work = [(fn, build, *entry) for fn, *entry in work if not wanted or entry[0] in wanted]
    bad = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for good, text, output in pool.map(lambda job: job[0](*job[1:]), work):
            print(("ok " if good else "FAIL ") + text, flush=True)
            if not good:
                bad += 1
                print("    " + output[-3000:].rstrip().replace("\n", "\n    "), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
