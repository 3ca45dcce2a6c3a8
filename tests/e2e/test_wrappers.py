#!/usr/bin/env python3
"""What stands between envctl and a server, and what servers leave behind: npm, shells, reloaders, daemons, children that ignore
SIGTERM or keep the port. Each is started twice on the same port and ended twice, the second time by a keeper that only knows it from
the saved state. Everything of it ends, and the port is free."""

import shutil
import signal

from deps import get
from lib import PYTHON, Proc, Skipped, all_pids, check, contains, equal, listening_ports, main, owner_of, test, wait_for

SERVER = """
import os, signal, socket, sys, time
port = int(sys.argv[1])
def serve(listener):
    while True:
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
        connection.close()
def listen():
    return socket.create_server(("127.0.0.1", port))
"""

# Watches its child and starts another one when it has ended, as reloaders do.
RELOADER = SERVER + """
def child():
    pid = os.fork()
    if not pid:
        serve(listen())
    return pid
while True:
    os.waitpid(child(), 0)
"""

# A launcher that waits, and a daemon that has neither its session, parent, directory nor output any more. With a last word, not
# even its environment.
DAEMON = SERVER + """
if "daemon" in sys.argv:
    serve(listen())
if not os.fork():
    os.setsid()
    if not os.fork():
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.chdir("/")
        environment = {} if "bare" in sys.argv else os.environ
        os.execve(sys.executable, [sys.executable, "-S", "-E", __file__, str(port), "daemon"], environment)
    os._exit(0)
while True:
    time.sleep(3600)
"""

# It ends at once when it is told to; a child of it, in a session of its own, does not, and has the listening socket.
HEIR = SERVER + """
listener = listen()
if not os.fork():
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(listener)
listener.close()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
while True:
    time.sleep(3600)
"""

DEAF = SERVER + """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
serve(listen())
"""

PLAIN = SERVER + "serve(listen())\n"


def server(w, text):
    """The command of a Python program, to be followed by its port."""
    return f"{PYTHON} -S -E {w.write('backend/server.py', text)}"


def prepare(w, command, **keys):
    (w.repo / "backend").mkdir(exist_ok=True)
    w.configure(MAIN_FRONTEND_ENABLE=False, ENVCTL_BACKEND_START_CMD=command, **keys)
    w.commit()


def start(w):
    """Everything of the service, and which of it listens."""
    w.start()
    equal(get(f"http://127.0.0.1:{w.port}"), "ok", "the answer")
    keepers = {p.pid for p in w.keepers()}
    # One that cleared its environment and left the directory is found by its command line.
    processes = [p for p in w.processes() if p.pid not in keepers]
    listener = owner_of(w.port, processes)
    check(listener, "nothing of it listens")
    return processes, listener


def ends(w, at_least, killed):
    """Twice; `at_least` processes are there, and some of them have to be killed or not."""
    for again in (False, True):
        processes, listener = start(w)
        check(len(processes) >= at_least, f"processes: {processes}")
        check(listener.pid != w.saved_state()["services"]["Main Backend"]["pid"] or at_least == 1, "the one that listens was started by it")
        if again:
            for keeper in w.keepers():
                keeper.signal(signal.SIGKILL)
        result = w.envctl(*(["stop-all"] if again else ["stop", "--service", "backend"]), "--json", rc=0).json()
        equal([(s["stopped"], s["killed"]) for s in result["stopped"]], [(True, killed)], "stopped, killed")
        equal([p for p in processes if p.alive], [], "processes left")
        check(w.port not in listening_ports(), "the port is free")


@test
def npm(w):
    if not shutil.which("npm"):
        raise Skipped("npm is not here")
    w.env["npm_config_update_notifier"] = "false"
    w.write("backend/package.json", '{"scripts": {"serve": "%s $PORT"}}\n' % server(w, PLAIN))
    prepare(w, "npm run serve")
    ends(w, 2, False)


@test
def a_shell_that_waits(w):
    w.write("backend/run.sh", f"#!/bin/sh\n{server(w, PLAIN)} $1 &\nwait\n", 0o755)
    prepare(w, "./run.sh {port}")
    ends(w, 2, False)


@test
def a_shell_that_ignores_term(w):
    """It starts its server again and again."""
    w.write("backend/run.sh", f"#!/bin/sh\ntrap '' TERM\nwhile :; do {server(w, PLAIN)} $1; done\n", 0o755)
    prepare(w, "./run.sh {port}")
    ends(w, 2, True)


@test
def a_reloader(w):
    prepare(w, server(w, RELOADER) + " {port}")
    ends(w, 2, False)


@test
def a_reloader_whose_child_was_killed(w):
    prepare(w, server(w, RELOADER) + " {port}")
    processes, listener = start(w)
    listener.signal(signal.SIGKILL)
    wait_for(lambda: owner_of(w.port, list(map(Proc, all_pids()))), "the next child")
    w.envctl("stop", "--service", "backend", rc=0)
    equal([p for p in processes if p.alive], [], "processes left")
    check(w.port not in listening_ports(), "the port is free")


@test
def a_daemon(w):
    prepare(w, server(w, DAEMON) + " {port}")
    ends(w, 2, False)


@test
def a_daemon_without_a_trace(w):
    """Nothing but a control group tells whose it is."""
    prepare(w, server(w, PLAIN) + " {port}")
    start(w)
    grouped = "cgroup" in w.saved_state()["services"]["Main Backend"]
    w.stop_all()
    if not grouped:
        raise Skipped("no control groups of our own")
    prepare(w, server(w, DAEMON) + " {port} bare")
    ends(w, 2, False)


@test
def a_child_that_keeps_the_port(w):
    prepare(w, server(w, HEIR) + " {port}")
    ends(w, 2, True)


@test
def a_child_that_keeps_the_port_of_a_dead_one(w):
    prepare(w, server(w, HEIR) + " {port}")
    processes, _ = start(w)
    leader = Proc(w.saved_state()["services"]["Main Backend"]["pid"])
    leader.signal(signal.SIGKILL)
    wait_for(lambda: w.saved_state()["services"]["Main Backend"]["status"] == "exited", "its end to be recorded")
    equal(get(f"http://127.0.0.1:{w.port}"), "ok", "the child still answers")
    w.start()
    check(not any(p.alive for p in processes), "what was left of the first is gone")
    equal(w.saved_state()["services"]["Main Backend"]["actual_port"], w.port, "the port of the second")
    w.stop_all()
    check(w.port not in listening_ports(), "the port is free")


@test
def one_that_ignores_term(w):
    prepare(w, server(w, DEAF) + " {port}")
    ends(w, 1, True)


@test
def a_daemon_that_leaves_nobody_behind(w):
    """What was started has ended before anything listened: that is a failed start, and the daemon does not outlive it."""
    text = SERVER + "if os.fork():\n    os._exit(0)\nos.setsid()\nif os.fork():\n    os._exit(0)\ntime.sleep(0.2)\nserve(listen())\n"
    prepare(w, server(w, text) + " {port}")
    error = w.envctl("start", "--headless", "--json", rc=1).error()
    contains(error["message"], "exited with code 0", "message")
    w.gone()


if __name__ == "__main__":
    main()
