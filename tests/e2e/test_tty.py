#!/usr/bin/env python3
"""On a terminal (tmux): one live line per service, and Ctrl-C during a start stops what it started, with exit code 2."""

import os
import re
import shlex

from lib import BIN, check, contains, equal, listens, main, test, wait_for


class Terminal:
    """A program in a tmux of its own."""

    def __init__(self, w, *argv, columns=100, lines=24):
        self.w = w
        self.code = w.base / "exit-code"
        self.socket = str(w.base / "tmux")
        command = " ".join(shlex.quote(str(a)) for a in argv)
        self.env = {k: v for k, v in w.env.items() if k not in ("CI", "NO_COLOR")} | {"TERM": "xterm-256color", "SHELL": "/bin/sh"}
        self.tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines), "-c", str(w.repo),
            # The shell gets Ctrl-C as well, and has to live on to tell the exit code.
            f"trap : INT; {command}; echo $? >{self.code}.new; mv {self.code}.new {self.code}; sleep 600",
        )

    def tmux(self, *args):
        return self.w.run("tmux", "-S", self.socket, *args, env=self.env, rc=0).out

    def screen(self):
        return self.tmux("capture-pane", "-p", "-t", "0")

    def keys(self, *keys):
        self.tmux("send-keys", "-t", "0", *keys)

    def exit_code(self):
        wait_for(self.code.exists, lambda: f"the program to end; on its screen:\n{self.screen()}", 20)
        return int(self.code.read_text(encoding="ascii"))

    def close(self):
        self.tmux("kill-server")
        wait_for(lambda: not os.path.exists(self.socket) or not [p for p in self.w.processes() if "tmux" in p.comm], "tmux to end")
        if os.path.exists(self.socket):
            os.unlink(self.socket)


def on_terminal(w, *argv, **options):
    t = Terminal(w, *argv, **options)
    w.env["TMUX_TMPDIR"] = str(w.base)
    return t


@test
def live_lines(w):
    w.services(backend="--delay 0.6", frontend="--delay 1.2")
    t = on_terminal(w, BIN, "start")
    wait_for(lambda: "Main Backend" in t.screen() and "starting" in t.screen(), lambda: f"live lines:\n{t.screen()}")
    wait_for(
        lambda: re.search(r"Main Backend +ready in \d+\.\d s at http://\S+", t.screen()) and "starting" in t.screen(),
        lambda: f"the backend ready while the frontend starts:\n{t.screen()}",
    )
    equal(t.exit_code(), 0, "exit code")
    screen = t.screen()
    for name in ("Main Backend", "Main Frontend"):
        found = re.findall(rf"^. {name} +ready in", screen, re.M)
        equal(len(found), 1, f"final lines of {name} on\n{screen}\n")
    check("starting" not in screen, f"a line was left behind:\n{screen}")
    t.close()


@test
def ctrl_c_stops_what_was_started(w):
    w.services(backend="", frontend="--delay 30")
    t = on_terminal(w, BIN, "start")
    wait_for(lambda: listens(w.port) and "ready in" in t.screen(), lambda: f"the backend to be ready:\n{t.screen()}")
    t.keys("C-c")
    equal(t.exit_code(), 2, f"exit code\n{t.screen()}\n")
    contains(t.screen(), "interrupted", "the screen")
    wait_for(lambda: not w.service_processes(), "the services to be gone", 1)
    t.close()


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
