#!/usr/bin/env python3
"""A run of the tests that is interrupted in the middle leaves nothing: no process and no file. The tests that are run here, as
another program, are some of the others, which have much in the air: threads that start things, and mounted disks."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from lib import TOP, Failed, Skipped, check, equal, main, processes_of, test, wait_for

HERE = Path(__file__).resolve().parent


def begun(w, file, name, ready):
    """A test of another file, when `ready` is true for the processes that it has started."""
    p = w.spawn(
        sys.executable, HERE / f"{file}.py", name, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, "TMPDIR": str(w.base / "tmp"), "ENVCTL_ROUNDS": "50"},
    )
    try:
        wait_for(lambda: p.poll() is not None or ready(processes_of(w.base / "tmp", {p.pid})), f"{name} to be at work", 120)
    finally:
        w.started.remove(p)
        w.decoys.append(p)
    if p.poll() is not None:
        out = p.communicate()[0].decode()
        raise (Skipped if out.startswith("skip") else Failed)(out)
    return p


def services(count):
    return lambda found: len([p for p in found if "ENVCTL_SERVICE" in p.environ()]) >= count


def interrupt(w, p, number):
    p.send_signal(number)
    out = p.communicate(timeout=120)[0].decode()
    equal(p.returncode, 128 + number, f"exit code after {out}")
    check(re.search(f"^# interrupted by {signal.Signals(number).name}$", out, re.M), out)
    equal(processes_of(w.base / "tmp"), [], "processes")
    equal(list((w.base / "tmp").iterdir()), [], "files")


@test(timeout=400)
def in_the_middle_of_many_starts(w):
    for number, count in ((signal.SIGTERM, 1), (signal.SIGINT, 20), (signal.SIGHUP, 5)):
        interrupt(w, begun(w, "test_ports_shared", "many_starts_at_the_same_moment", services(count)), number)


@test(timeout=400)
def in_the_middle_of_a_storm(w):
    """Its threads wait for each other: the interrupted one cannot wait for them."""
    interrupt(w, begun(w, "test_concurrent", "two_clients_and_a_killer", services(1)), signal.SIGTERM)


@test(timeout=400)
def with_a_mounted_disk(w):
    interrupt(w, begun(w, "test_faults", "the_power_goes", services(2)), signal.SIGTERM)


@test(timeout=400)
def what_a_killed_one_leaves_is_swept(w):
    """kill -9 lets nobody clean up: tests/run.sh looks for what belongs to its directory."""
    p = begun(w, "test_ports_shared", "many_starts_at_the_same_moment", services(5))
    p.kill()
    p.communicate()
    check(processes_of(w.base / "tmp"), "something is left")
    swept = w.run(sys.executable, HERE / "sweep.py", *(w.base / "tmp").iterdir(), rc=0, timeout=100)
    check("svc.py" in swept.err, f"it is told: {swept}")
    equal(processes_of(w.base / "tmp"), [], "processes")
    for place in ("/", str(TOP), str(w.base / "tmp")):
        equal(w.run(sys.executable, HERE / "sweep.py", place).rc, 1, f"exit code for {place}")
    subprocess.run(["rm", "-r", *(w.base / "tmp").iterdir()], check=True)


main()
