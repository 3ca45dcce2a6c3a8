#!/usr/bin/env python3
"""Stopping means all processes of a service and nobody else's: decoys, escapees, forking chains, many at once."""

import json
import shutil
import signal
import subprocess

from lib import BIN, PATIENCE, TOP, Failed, Proc, all_pids, check, contains, equal, listens, main, rounds, test, wait_for

DECOY_NAMES = ["vite", "gunicorn", "uvicorn", "celery", "next dev", "npm run dev", "node server.js", "envctl", "python3 main.py"]


def decoys(w):
    """Strangers that look like services: same names, same directory, a port in our range, our log directory."""
    found = []
    for name in DECOY_NAMES:
        found.append(
            subprocess.Popen(
                ["bash", "-c", f"exec -a '{name}' sleep 600"],
                env={"PATH": "/usr/bin:/bin"}, cwd=w.repo / "backend", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )
        )
    code = "import socket,sys,time; s=socket.create_server(('127.0.0.1',int(sys.argv[1]))); print(1,flush=True); time.sleep(600)"
    server = subprocess.Popen(
        ["/usr/bin/python3", "-S", "-c", code, str(w.port + 55), str(w.base)],  # the last one is for a sweep to find it
        env={"PATH": "/usr/bin:/bin"}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )
    server.stdout.readline()
    found.append(server)
    w.decoys += found
    return found


@test
def decoys_survive(w):
    w.services(backend="", frontend="")
    strangers = decoys(w)
    for n in range(rounds(10)):
        w.start()
        if n % 2:
            w.envctl("stop", rc=0)
        w.stop_all()
        for p in strangers:
            check(p.poll() is None, f"round {n + 1}: {p.args} was harmed")
    w.start()
    w.envctl("blast-all", "--yes", rc=0)
    for p in strangers:
        check(p.poll() is None, f"blast-all: {p.args} was harmed")


def children_of_service(w, name):
    leader = w.saved_state()["services"][name]["pid"]
    return [p for p in w.service_processes() if p.pid != leader]


@test
def children_go_with_their_service(w):
    w.services(backend="--child plain --child setsid")
    w.start()
    wait_for(lambda: len(children_of_service(w, "Main Backend")) == 2, "the two children")
    result = w.envctl("stop", "--json", rc=0).json()
    equal([(s["stopped"], s["killed"]) for s in result["stopped"]], [(True, True)], "stopped (by force: they ignore TERM)")
    equal(w.service_processes(), [], "processes left")


@test
def children_of_a_dead_leader_are_found(w):
    w.services(backend="--child plain --child setsid")
    w.start()
    children = wait_for(lambda: len(children_of_service(w, "Main Backend")) == 2 and children_of_service(w, "Main Backend"), "both")
    Proc(w.saved_state()["services"]["Main Backend"]["pid"]).signal(signal.SIGKILL)
    wait_for(lambda: w.saved_state()["services"]["Main Backend"]["status"] == "exited", "the leader's end to be recorded")
    check(all(p.alive for p in children), "the children live on")
    w.stop_all()
    equal([p for p in children if p.alive], [], "children left")


@test
def a_chain_of_short_lived_processes(w):
    track = w.base / "hops"
    w.services(backend=f"--child hop:{track}")
    w.start()
    hops = lambda: track.stat().st_size if track.exists() else 0  # noqa: E731
    wait_for(lambda: hops() > 10, "the chain")
    w.stop_all()
    before = hops()
    # No event says "nothing happens any more": give it the time of some ten hops.
    try:
        wait_for(lambda: hops() > before, "another hop", 0.1 / PATIENCE)
    except Failed:
        return
    raise Failed("the chain goes on after stop-all")


@test
def what_does_not_end_is_not_forgotten(w):
    """Nothing ends this one: the policy has no SIGKILL here. It is named, its record and its port stay, and no second one starts."""
    policy = w.base / "lua"
    shutil.copytree(w.env.get("ENVCTL_LUA_DIR", TOP / "lua"), policy)
    ending = policy / "envctl/keeper/ending.lua"
    text = ending.read_text(encoding="utf-8")
    for old, new in (("queries, 'KILL')", "queries, 'TERM')"), ("TERM_BUDGET_MS = 5000", "TERM_BUDGET_MS = 50"),
                     ("KILL_BUDGET_MS = 3000", "KILL_BUDGET_MS = 50")):
        equal(text.count(old), 1, f"places of {old}")
        text = text.replace(old, new)
    ending.write_text(text, encoding="utf-8")
    w.services(backend="--ignore-term")
    w.start(env={"ENVCTL_LUA_DIR": str(policy)})
    pid = w.saved_state()["services"]["Main Backend"]["pid"]
    for command in (["restart", "--service", "backend"], ["stop-all"]):
        error = w.envctl(*command, "--json", rc=1).error()
        equal(error["code"], "not_stopped", f"{command}: code")
        contains(error["message"], f"pid {pid} does not end", f"{command}: message")
        equal([p.pid for p in w.service_processes()], [pid], f"{command}: what runs")
        equal(w.saved_state()["services"]["Main Backend"]["pid"], pid, f"{command}: the record")
        equal(w.state()["state"]["services"]["Main Backend"]["live"], True, f"{command}: what is shown")
    equal([e["port"] for e in json.loads((w.runtime / "engine/ports.json").read_text())["entries"]], [w.port], "reserved ports")
    # When it ends after all, that is recorded.
    Proc(pid).signal(signal.SIGKILL)
    wait_for(lambda: w.saved_state()["services"]["Main Backend"]["status"] == "exited", "its end to be recorded")
    equal(w.saved_state()["services"]["Main Backend"]["exit"]["signal"], "KILL", "how it ended")


@test
def the_keeper_goes_when_idle(w):
    w.services(backend="")
    w.start()
    keeper = w.keepers()[0]
    w.envctl("stop", rc=0)
    wait_for(lambda: not keeper.alive, "the keeper to go")
    check(not (w.scope_dir() / "keeper.sock").exists(), "its socket is gone")
    check(not listens(w.port), "the port is free")


@test
def the_keeper_goes_when_its_last_service_ends(w):
    w.services(backend="")
    w.start()
    keeper = w.keepers()[0]
    Proc(w.saved_state()["services"]["Main Backend"]["pid"]).signal(signal.SIGTERM)
    wait_for(lambda: not keeper.alive, "the keeper to go")
    equal(w.saved_state()["services"]["Main Backend"]["status"], "exited", "status")
    equal(w.saved_state()["services"]["Main Backend"]["exit"]["code"], 0, "exit code")


@test
def stopping_nothing_is_fine(w):
    w.services(backend="")
    for command in (["stop"], ["stop-all"], ["stop", "--json"], ["stop-all", "--json"]):
        w.envctl(*command, rc=0)
    check(not w.runtime.exists(), "nothing was created")


@test
def an_interrupted_stop_does_not_say_it_is_done(w):
    w.services(backend="--ignore-term", frontend="")
    w.start()
    # The service that does not end leaves seconds for the interrupt; a machine that stalls for longer has ended everything.
    p = w.spawn(BIN, "stop", "--all", "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wait_for(w.keeper_is_busy, "the stop to begin")
    p.send_signal(signal.SIGINT)
    document = json.loads(p.communicate(timeout=60)[0])
    if p.returncode == 0:
        equal(len(document["stopped"]), 2, "through before the interrupt")
        return
    error = document["error"]
    equal((p.returncode, error["code"]), (2, "interrupted"), "how it ends")
    check("is stopped" not in error["hint"] and "envctl show-state" in error["hint"], error["hint"])
    w.envctl("stop-all", "--wait", rc=0)


@test
def zombies_do_not_gather(w):
    w.services(backend="", frontend="")
    w.start()
    keeper = w.keepers()[0]
    for _ in range(10):
        w.envctl("stop", "--service", "frontend", rc=0)
        w.start()

    def zombies():
        return [p for p in map(Proc, all_pids()) if p.ppid == keeper.pid and p.state == "Z"]

    wait_for(lambda: not zombies(), "zombies of the keeper to be reaped")


if __name__ == "__main__":
    main()
