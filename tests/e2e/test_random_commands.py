#!/usr/bin/env python3
"""Random command lines against the whole program: whatever is typed ends with 0, 1 or 2, without a traceback and without an internal
error, and with --json in exactly one document."""

import json
import os
import random
import subprocess

from lib import BIN, PATIENCE, SEED, Failed, check, equal, main, rounds, test

VALUES = ["", "x", "Main", "main", "backend", "Main Backend", "trees", "1", "-1", "99999", "0.5", "a,b", "a=b", "{}", "[]", "../x", "/", "ü",
          "group/one", "feature-1", "previous", "text", "'", '"', "%s", "\\", "--", "x" * 300]
# These open other programs or wait for a person by design, or only end with Ctrl-C.
NEVER = {"--logs-follow", "--follow", "-f", "__keeper", "__script-host"}


def flags_of(w, *command):
    lines = w.envctl("__complete", "--", *command, "--", rc=0).out.splitlines()
    return [flag for flag in (line.split("\t")[0] for line in lines) if flag.startswith("--") and flag not in NEVER]


def vocabulary(w):
    """{command or alias: the flags it takes}, and every flag there is."""
    commands = {}
    for c in w.envctl("list-commands", "--json", rc=0).json()["details"]:
        own = flags_of(w, c["name"])
        commands.update({word: own for word in [c["name"], *c["aliases"]]})
    return commands, sorted({flag for own in commands.values() for flag in own} | set(flags_of(w)))


def line(dice, commands, flags):
    command = dice.choice(sorted(commands))
    words = [command] if dice.random() < 0.95 else []
    for _ in range(dice.randint(0, 3)):
        kind = dice.random()
        pool = commands[command] if dice.random() < 0.9 else flags
        if kind < 0.4:
            words.append(dice.choice(pool))
        elif kind < 0.6:
            words.append(f"{dice.choice(pool)}={dice.choice(VALUES)}")
        elif kind < 0.97:
            words.append(dice.choice(VALUES))
        else:
            words.append(dice.choice(sorted(commands)))
    if dice.random() < 0.5:
        words.append("--json")
    return words


def try_one(w, words, cwd):
    result = w.envctl(*words, cwd=cwd, timeout=30, stdin="")
    check(result.rc in (0, 1, 2), f"exit code {result.rc}\n{result}")
    for sign in ("stack traceback", "internal error", "Sanitizer"):
        check(sign not in result.err + result.out, f"{sign}\n{result}")
    if "--json" in words and "--" not in words and result.out.startswith("{"):
        json.loads(result.out)
    return result.rc


@test(timeout=400)
def nothing_that_is_typed_breaks_it(w):
    w.services(backend="", extra="ENVCTL_API_START_CMD=true\n")
    w.write("todo/plans/group/one.md", "# one\n")
    w.write(".gitignore", "trees/\n")
    w.commit()
    w.git("worktree", "add", "-q", "-b", "feature-1", "trees/feature/1")
    commands, flags = vocabulary(w)
    check(len(commands) > 40 and len(flags) > 60, f"{len(commands)} commands, {len(flags)} flags")
    dice, codes = random.Random(SEED), {}
    for n in range(rounds(500)):
        words = line(dice, commands, flags)
        rc = try_one(w, words, dice.choice([w.repo, w.repo, w.repo / "backend", w.base]))
        codes[rc] = codes.get(rc, 0) + 1
    print(f"# {n + 1} command lines, exit codes {codes}, {len(commands)} commands and aliases, {len(flags)} flags")


@test(timeout=120)
def streams_that_are_closed(w):
    """Nothing to read from, nobody who reads: every command ends, and says no more than it could."""
    w.services(backend="")
    commands = [c["name"] for c in w.envctl("list-commands", "--json", rc=0).json()["details"]]
    check(len(commands) > 40, f"{len(commands)} commands")
    for command in commands:
        gone, pipe = os.pipe()
        os.close(gone)
        p = w.spawn("/bin/sh", "-c", 'exec "$@" <&-', "sh", BIN, command, stdout=pipe, stderr=subprocess.PIPE)
        os.close(pipe)
        try:
            said = p.communicate(timeout=30 * PATIENCE)[1].decode(errors="replace")
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
            raise Failed(f"{command} does not end") from None
        w.started.remove(p)
        check(p.returncode in (0, 1, 2), f"{command}: exit code {p.returncode}: {said}")
        check("traceback" not in said and "internal error" not in said, f"{command}: {said}")
    w.envctl("start", "--headless", rc=0)
    equal(w.run("/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", BIN, "restart", rc=0).out, "", "nowhere to speak")
    equal(w.state()["state"]["services"]["Main Backend"]["live"], True, "and it was done all the same")


main()
