#!/usr/bin/env python3
"""On a terminal (tmux): one live line per service, and Ctrl-C during a start stops what it started, with exit code 2."""

import os
import re

from lib import BIN, PYTHON, SVC, check, contains, equal, listens, main, test, wait_for
from terminal import Pty, on_terminal


@test
def live_lines(w):
    w.services(backend=f"--until {w.base}/first --say 'waiting for startup'", frontend=f"--until {w.base}/second")
    t = on_terminal(w, BIN, "start")
    wait_for(lambda: "Main Backend" in t.screen() and "starting" in t.screen(), lambda: f"live lines:\n{t.screen()}")
    (w.base / "first").touch()
    wait_for(
        lambda: re.search(r"Main Backend +ready in \d+\.\d s at http://\S+", t.screen()) and "starting" in t.screen(),
        lambda: f"the backend ready while the frontend starts:\n{t.screen()}",
    )
    (w.base / "second").touch()
    equal(t.exit_code(), 0, "exit code")
    screen = t.screen()
    for name in ("Main Backend", "Main Frontend"):
        found = re.findall(rf"^. {name} +ready in", screen, re.M)
        equal(len(found), 1, f"final lines of {name} on\n{screen}\n")
    check("starting" not in screen, f"a line was left behind:\n{screen}")
    equal([e["event"] for e in w.events()].count("service.start"), 2, "each was launched once, however long it took")
    t.close()


@test
def hooks_print_below_the_live_lines(w):
    w.services(backend="", frontend="")
    w.write(".envctl.lua", 'return { envctl = 1, on = { started = function(_, host) host.log("the hook") end } }')
    w.envctl("script", "trust", rc=0)
    t = on_terminal(w, BIN, "start")
    equal(t.exit_code(), 0, "exit code")
    contains(t.screen(), "\nthe hook\n", "the screen")
    t.close()


@test
def ctrl_c_stops_what_was_started(w):
    w.services(backend="", frontend="--delay 30")
    t = on_terminal(w, BIN, "start")
    wait_for(lambda: listens(w.port) and "ready in" in t.screen(), lambda: f"the backend to be ready:\n{t.screen()}")
    t.keys("C-c")
    equal(t.exit_code(), 2, f"exit code\n{t.screen()}\n")
    contains(t.screen(), "interrupted", "the screen")
    wait_for(lambda: not w.service_processes(), "the services to be gone")
    t.close()


@test
def a_second_ctrl_c_only_gives_the_terminal_back(w):
    """The undoing goes on without whoever is too impatient to watch it."""
    w.configure(MAIN_BACKEND_ENABLE=False, MAIN_FRONTEND_ENABLE=False)
    service = '%s = { command = "%s --port ${port} %s", port = %d, stop = { timeout_ms = 1000 } }'
    api = service % ("api", f"{PYTHON} -S -E {SVC}", "--ignore-term", w.port)
    web = service % ("web", f"{PYTHON} -S -E {SVC}", "--delay 30", w.port + 10)
    w.write(".envctl.lua", f"return {{ envctl = 1, services = {{ {api}, {web} }} }}\n")
    w.commit()
    w.envctl("script", "trust", rc=0)
    t = Pty(w, BIN, "start")
    wait_for(lambda: b"ready in" in t.read(), lambda: f"the first one to be ready:\n{t.bytes}")
    os.write(t.master, b"\x03")
    wait_for(lambda: b"stopping" in t.read(), lambda: f"the undoing:\n{t.bytes}")
    os.write(t.master, b"\x03")
    equal(t.wait(), 2, f"exit code\n{t.bytes}\n")
    check(t.restored(), "the terminal is as it was")
    t.close()
    wait_for(lambda: not w.service_processes(), "the services to be gone", 20)


@test
def ctrl_c_leaves_alone_what_ran_before(w):
    w.services(backend="")
    w.start()
    pid = w.saved_state()["services"]["Main Backend"]["pid"]
    w.services(backend="", frontend="--delay 30")
    t = on_terminal(w, BIN, "start")
    wait_for(lambda: len(w.service_processes()) == 2, "the frontend to be launched")
    t.keys("C-c")
    equal(t.exit_code(), 2, f"exit code\n{t.screen()}\n")
    equal([p.pid for p in w.service_processes()], [pid], "services left")
    equal(w.state()["state"]["services"]["Main Backend"]["live"], True, "the backend lives")
    t.close()


@test
def a_closed_terminal_takes_no_service_with_it(w):
    w.services(backend="", frontend="")
    t = on_terminal(w, BIN, "start")
    equal(t.exit_code(), 0, "exit code")
    t.close()
    equal({s["live"] for s in w.state()["state"]["services"].values()}, {True}, "live")
    for p in w.service_processes():
        equal(p.fds().get(0), "/dev/null", f"stdin of {p}")


@test
def a_failure_on_a_terminal(w):
    w.services(backend="", frontend="--say 'cannot go on' --garbage --exit 5")
    t = on_terminal(w, BIN, "start")
    equal(t.exit_code(), 1, f"exit code\n{t.screen()}\n")
    screen = t.screen()
    for part in ("Main Frontend", "code 5", "cannot go on"):
        contains(screen, part, "the screen")
    t.close()


@test
def a_small_terminal(w):
    w.services(backend="--delay 0.3", frontend="--delay 0.3")
    t = on_terminal(w, BIN, "start", columns=30, lines=6)
    equal(t.exit_code(), 0, f"exit code\n{t.screen()}\n")
    t.close()


if __name__ == "__main__":
    main()
