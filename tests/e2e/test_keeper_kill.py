#!/usr/bin/env python3
"""kill -9 of the keeper with services up: state tells the truth, the next command adopts them, stop-all ends them all."""

import json
import os
import signal

from lib import Proc, check, contains, equal, listens, main, test, wait_for


def started(w, **options):
    w.services(**(options or {"backend": "", "frontend": ""}))
    w.start()
    return w.saved_state()


def kill_keeper(w):
    keeper = w.keepers()[0]
    keeper.signal(signal.SIGKILL)
    wait_for(lambda: not keeper.alive, "the keeper to be gone")
    return keeper


@test
def services_live_on_and_are_shown_as_they_are(w):
    state = started(w)
    kill_keeper(w)
    shown = w.state()["state"]
    equal(shown["keeper"], None, "keeper")
    for name, service in shown["services"].items():
        equal((service["live"], service["pid"]), (True, state["services"][name]["pid"]), f"{name}: live, pid")
    equal(w.keepers(), [], "looking starts no keeper")
    # One of the two ends while nobody watches: that is seen too, and its exit code is not invented.
    frontend = Proc(state["services"]["Main Frontend"]["pid"])
    frontend.signal(signal.SIGKILL)
    wait_for(lambda: not frontend.alive, "the frontend to end")
    shown = w.state()["state"]["services"]
    equal((shown["Main Frontend"]["live"], shown["Main Frontend"]["status"]), (False, "exited"), "frontend")
    check(not shown["Main Frontend"]["exit"] or shown["Main Frontend"]["exit"]["code"] is None, "no invented exit code")
    equal(shown["Main Backend"]["live"], True, "backend")


@test
def the_next_start_adopts(w):
    state = started(w)
    old = kill_keeper(w)
    w.start()
    after = w.saved_state()
    equal(
        {n: s["pid"] for n, s in after["services"].items()}, {n: s["pid"] for n, s in state["services"].items()}, "pids"
    )
    check(after["keeper"] and after["keeper"]["pid"] != old.pid, f"another keeper: {after['keeper']}")
    check("service.adopt" in [e["event"] for e in w.events()], "the adoption is an event")
    # The new keeper watches what it adopted.
    backend = Proc(after["services"]["Main Backend"]["pid"])
    backend.signal(signal.SIGKILL)
    ended = wait_for(
        lambda: w.saved_state()["services"]["Main Backend"]["status"] == "exited" and w.saved_state(), "the exit to be seen"
    )
    equal((ended["services"]["Main Backend"]["exit"] or {}).get("code"), None, "exit code of a child that was not ours")


@test
def stop_all_ends_them_and_says_so(w):
    state = started(w)
    kill_keeper(w)
    result = w.envctl("stop-all", "--json", rc=0).json()
    equal(
        sorted((s["name"], s["stopped"], s["was_alive"]) for s in result["stopped"]),
        [("Main Backend", True, True), ("Main Frontend", True, True)],
        "stopped",
    )
    for service in state["services"].values():
        check(Proc.quick(service["pid"]) is None, f"pid {service['pid']} is gone")
        check(not listens(service["actual_port"]), f"port {service['actual_port']} is free")


@test
def stop_of_one_service_after_the_kill(w):
    started(w)
    kill_keeper(w)
    w.envctl("stop", "--service", "backend", rc=0)
    equal(sorted(w.saved_state()["services"]), ["Main Frontend"], "services")
    equal(w.state()["state"]["services"]["Main Frontend"]["live"], True, "the other one lives")


@test
def logs_lose_nothing(w):
    started(w, backend="--tick 0.02")
    log = w.saved_state()["services"]["Main Backend"]["log_path"]
    kill_keeper(w)
    size = os.path.getsize(log)
    wait_for(lambda: os.path.getsize(log) > size + 30, "the service to go on logging")
    lines = [line for line in open(log, encoding="utf-8") if line.startswith("tick ")]
    equal([line.strip() for line in lines], [f"tick {n + 1}" for n in range(len(lines))], "ticks")
    contains(w.envctl("logs", "--all", rc=0).out, "tick ", "logs")


@test
def killed_again_and_again(w):
    state = started(w)
    for _ in range(5):
        kill_keeper(w)
        w.start()
    after = w.saved_state()
    equal(
        {n: s["pid"] for n, s in after["services"].items()}, {n: s["pid"] for n, s in state["services"].items()}, "pids"
    )
    equal(len(w.keepers()), 1, "keepers")


@test
def a_reused_pid_is_a_stranger(w):
    """The state names pids that now belong to somebody else: no signal, no claim that it runs."""
    state = started(w)
    kill_keeper(w)
    for p in w.service_processes():
        p.signal(signal.SIGKILL)
    wait_for(lambda: not w.service_processes(), "the services to end")
    decoy = w.spawn("sleep", "600", env={"PATH": "/usr/bin:/bin"}, cwd="/")
    w.started.remove(decoy)
    w.decoys.append(decoy)
    saved = w.saved_state()
    for service in saved["services"].values():
        service["pid"] = service["identity"]["pid"] = decoy.pid
    w.state_file().write_text(json.dumps(saved), encoding="utf-8")
    for service in w.state()["state"]["services"].values():
        equal(service["live"], False, "live")
    stopped = w.envctl("stop", "--json", rc=0).json()["stopped"]
    equal({(s["stopped"], s["was_alive"]) for s in stopped}, {(True, False)}, "they were gone already")
    check(not w.state_file().exists(), "the records are cleared")
    check(decoy.poll() is None, "the stranger with our pid was signalled")
    check(state["run_id"], "there was a run")


@test
def another_boot_or_machine(w):
    """State of another boot: nothing runs, nothing is signalled."""
    started(w)
    kill_keeper(w)
    saved = w.saved_state()
    pids = [s["pid"] for s in saved["services"].values()]
    for service in saved["services"].values():
        service["identity"]["boot_id"] = "00000000-0000-4000-8000-000000000000"
    w.state_file().write_text(json.dumps(saved), encoding="utf-8")
    for service in w.state()["state"]["services"].values():
        equal(service["live"], False, "live")
        contains(str(service["live_reason"]), "reboot", "reason")
    for pid in pids:
        check(Proc.quick(pid) is not None, "show-state signalled something")


if __name__ == "__main__":
    main()
