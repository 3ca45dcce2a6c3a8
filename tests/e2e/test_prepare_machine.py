#!/usr/bin/env python3
"""What runs before a start is heavy: of the steps of all repositories of a user so many run at a time as one machine can bear."""

import signal
import subprocess

from lib import BIN, contains, equal, main, test, wait_for

AT_ONCE = 2


def repository(w, name, command, services=1):
    """So many services, each with one step; {} in its command is the name of repository and service."""
    w.allow_left.append(r"engine/repo-[0-9a-f]{12}/.*")
    root = w.base / name
    root.mkdir()
    entries = []
    for n in range(1, services + 1):
        (root / f"s{n}").mkdir()
        step = command.format(f"{name}-s{n}")
        entries.append(f's{n} = {{ listens = false, command = "sleep 3600", dir = "s{n}", '
                       f'prepare = {{ {{ name = "build", shell = true, command = "{step}" }} }} }}')
    (root / ".envctl").write_text("MAIN_BACKEND_ENABLE=false\nMAIN_FRONTEND_ENABLE=false\n")
    (root / ".envctl.lua").write_text(f"return {{ envctl = 1, services = {{ {', '.join(entries)} }} }}\n")
    w.run("git", "init", "-q", cwd=root, rc=0)
    w.envctl("script", "trust", cwd=root, rc=0)
    return root


def until(w, name):
    """A step that says that it has begun, and ends when told."""
    return f"touch {w.base}/begun-{{}}; until test -e {w.base}/go-{name}; do sleep 0.05; done"


def go(w, name):
    (w.base / f"go-{name}").touch()


def begun(w):
    return {p.name.removeprefix("begun-") for p in w.base.glob("begun-*")}


def start(w, root):
    """A start in the background, and the file with what it says."""
    told = w.base / f"told-{root.name}"
    with told.open("w") as f:
        return w.spawn(BIN, "start", "--headless", cwd=root, stdout=subprocess.DEVNULL, stderr=f), told


def stop(w, *roots):
    for root in roots:
        w.envctl("stop-all", cwd=root, rc=0)


def full_machine(w):
    """One repository has all slots, and another one waits and says for whom."""
    first, second = repository(w, "first", until(w, "first"), services=AT_ONCE), repository(w, "second", "touch {0}")
    busy, _ = start(w, first)
    wait_for(lambda: begun(w) == {"first-s1", "first-s2"}, "the steps of the first")
    [keeper] = w.keepers()
    waiting, told = start(w, second)
    wait_for(lambda: "waiting for" in told.read_text(), lambda: f"the second to say that it waits: {told.read_text()}")
    equal(list(second.glob("s1/second-*")), [], "what the step of the second made")
    for n in (1, 2):
        contains(told.read_text(), f"pid {keeper.pid} of repository {first} (Main/s{n})", "for whom")
    return first, second, busy, waiting


@test
def a_slot_is_given_back(w):
    first, second, busy, waiting = full_machine(w)
    go(w, "first")
    equal((busy.wait(30), waiting.wait(30)), (0, 0), "exit codes")
    equal([p.name for p in second.glob("s1/second-*")], ["second-s1"], "what the step of the second made")
    stop(w, first, second)


@test
def a_slot_is_free_when_its_holder_is_killed(w):
    first, second, busy, waiting = full_machine(w)
    [keeper] = [p for p in w.keepers() if str(first) in " ".join(p.argv)]
    keeper.signal(signal.SIGKILL)
    equal(waiting.wait(30), 0, "exit code of the one that waited")
    equal(busy.wait(30), 1, "exit code of the one whose keeper was killed")
    stop(w, first, second)


@test
def a_step_that_starts_another_repository(w):
    """It has its slot already: two of them, each waiting for a second one, would wait for each other."""
    inner = [repository(w, f"inner-s{n}", "touch {0}") for n in (1, 2)]
    both = f"test -e {w.base}/begun-outer-s1 && test -e {w.base}/begun-outer-s2"
    outer = repository(
        w, "outer", f"touch {w.base}/begun-{{0}}; until {both}; do sleep 0.05; done; cd ../../inner-$(basename $PWD) && {BIN} start --headless",
        services=AT_ONCE)
    w.envctl("start", "--headless", cwd=outer, rc=0, timeout=60)
    equal([p.name for root in inner for p in root.glob("s1/inner-*")], ["inner-s1-s1", "inner-s2-s1"], "what the inner ones made")
    stop(w, outer, *inner)


main()
