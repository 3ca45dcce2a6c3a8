#!/usr/bin/env python3
"""Ctrl-C, TERM, HUP and a closed terminal at random moments of a start (R17), and everything that services outlive (R18).
ENVCTL_ROUNDS=200 is the long form; ENVCTL_SEED repeats a run."""

import os
import random
import select
import signal
import time

from drill import of_a_record, recorded_pids, settle
from lib import BIN, SEED, Proc, check, equal, main, rounds, test, wait_for
from terminal import Pty

WAYS = ["Ctrl-C", "TERM", "HUP", "close"]


def interrupt(t, way):
    if way == "Ctrl-C":
        os.write(t.master, b"\x03")
    elif way == "close":
        t.hang_up()
    elif t.process.poll() is None:
        t.process.send_signal(getattr(signal, f"SIG{way}"))


def one_round(w, dice, way, span, backend, what):
    t = Pty(w, BIN, "start")
    deadline = time.monotonic() + dice.uniform(0, span)
    while time.monotonic() < deadline:
        t.read()
        select.select([], [], [], 0.002)
    interrupt(t, way)
    code = t.wait()
    if way in ("Ctrl-C", "TERM"):
        # Before the handlers are there, the signal itself ends it.
        check(code in (0, 2, -signal.SIGINT, -signal.SIGTERM), f"{what}: exit code {code}\n{t.bytes.decode(errors='replace')}")
    if way != "close":
        check(t.restored(), f"{what}: the terminal is not as it was")
    t.close()
    settle(w)
    known = recorded_pids(w)
    for p in w.service_processes():
        check(of_a_record(p, known), f"{what}: {p} runs and is not recorded")
    check(backend.alive, f"{what}: the service that ran before")
    live = {name: s["live"] for name, s in w.state()["state"]["services"].items()}
    equal(live["Main Backend"], True, f"{what}: what is said about it")
    if code == 2:
        check(not live.get("Main Frontend"), f"{what}: interrupted, and the frontend runs: {live}")
    if live.get("Main Frontend"):
        w.envctl("stop", "--service", "frontend", "--wait", rc=0)
    check(w.service_processes(), f"{what}: the backend's process")


@test(timeout=400)
def interrupted_at_any_time(w):
    w.services(backend="")
    w.start()
    backend = Proc(w.saved_state()["services"]["Main Backend"]["pid"])
    w.services(backend="", frontend="--delay 0.05")
    began = time.monotonic()
    w.start()
    span = (time.monotonic() - began) * 1.2  # a start takes that long here, so signals fall into all of it
    w.envctl("stop", "--service", "frontend", rc=0)
    dice = random.Random(f"{SEED} interrupts")
    for n in range(rounds(24)):
        way = WAYS[n % len(WAYS)]
        one_round(w, dice, way, span, backend, f"round {n + 1}, seed {SEED}, {way}")


def started_and_lost(w, way):
    """A start whose client or terminal goes away when the services are up, or whose keeper is killed."""
    t = Pty(w, BIN, "start")
    wait_for(lambda: t.read() and w.saved_state() and {s["status"] for s in w.saved_state()["services"].values()} == {"ready"},
             "the services to be ready")
    if way == "kill the client" and t.process.poll() is None:
        t.process.kill()
    elif way == "close the terminal":
        t.hang_up()
    elif way == "kill the keeper":
        t.wait()
        for keeper in w.keepers():
            keeper.signal(signal.SIGKILL)
        wait_for(lambda: not w.keepers(), "the keeper to be gone")
    t.wait()
    t.close()


@test(timeout=400)
def services_outlive_whoever_started_them(w):
    w.services(backend="", frontend="")
    ways = ["end", "kill the client", "close the terminal", "kill the keeper"]
    for n in range(rounds(8)):
        way = ways[n % len(ways)]
        started_and_lost(w, way)
        services = w.saved_state()["services"]
        shown = w.state()["state"]["services"]
        for name, service in services.items():
            equal((shown[name]["live"], shown[name]["pid"]), (True, service["pid"]), f"{way}: {name}: live, pid")
        frontend = Proc(services["Main Frontend"]["pid"])
        frontend.signal(signal.SIGKILL)
        wait_for(lambda p=frontend: not p.alive, "the frontend to end")
        end = wait_for(
            lambda: w.state()["state"]["services"]["Main Frontend"]["live"] is False and w.state()["state"]["services"], "its end to be seen"
        )["Main Frontend"]
        # Only a parent can know how it ended, and the others do not invent it.
        if way == "kill the keeper":
            equal((end["exit"] or {}).get("code"), None, f"{way}: exit code")
            equal((end["exit"] or {}).get("signal"), None, f"{way}: signal")
        else:
            wait_for(lambda: (w.state()["state"]["services"]["Main Frontend"]["exit"] or {}).get("signal") == "KILL", f"{way}: the signal")
        w.stop_all()
        w.gone()


if __name__ == "__main__":
    main()
