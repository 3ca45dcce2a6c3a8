#!/usr/bin/env python3
"""Repositories that know nothing of each other want the same ports at the same time, and strangers sit on them: R24, R25 and what
R26 means for a start. ENVCTL_ROUNDS sets how often; the short form fits into every run."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import urllib.request

from lib import BIN, SEED, Skipped, at_once, check, contains, equal, main, rounds, test, wait_for


def repositories(w, count):
    """So many repositories of the same name, each in a directory of its own, with the same bases."""
    w.allow_left.append(r"engine/repo-[0-9a-f]{12}/.*")
    w.services(backend="", frontend="", BACKEND_PORT_BASE=w.port, FRONTEND_PORT_BASE=w.port + 50)
    found = [w.repo]
    for n in range(1, count):
        copy = w.base / f"{n}" / "repo"
        shutil.copytree(w.repo, copy)
        found.append(copy)
    return found


def reserved(w):
    path = w.runtime / "engine/ports.json"
    return json.loads(path.read_text(encoding="utf-8"))["entries"] if path.exists() else []


def no_port_twice(w, what):
    ports = [e["port"] for e in reserved(w)]
    equal(len(ports), len(set(ports)), f"{what}: ports in the table: {sorted(ports)}")


def stop(w, repos):
    at_once([lambda r=r: w.envctl("stop-all", "--json", cwd=r) for r in repos])
    wait_for(lambda: not w.service_processes(), lambda: f"these to end: {w.service_processes()}")


@test(timeout=rounds(2) * 60 + 60)
def many_starts_at_the_same_moment(w):
    """R24: nobody collides, nobody fails to bind, and a second time everybody has what it had."""
    repos = repositories(w, 32)
    first = None
    for n in range(rounds(2)):
        started = at_once([lambda r=r: w.envctl("start", "--headless", "--json", cwd=r, timeout=300) for r in repos])
        results, ports = dict(zip(repos, started)), {}
        for repo, result in results.items():
            equal(result.rc, 0, f"round {n}: {result}")
            ports[repo] = {s["name"]: s["port"] for s in result.json()["services"]}
            equal(len(ports[repo]), 2, f"services of {repo}")
            check("another program" not in result.err, f"round {n}: moved, and nobody knows why: {result}")
        every = [p for mine in ports.values() for p in mine.values()]
        equal(len(every), len(set(every)), f"round {n}: {sorted(every)}")
        no_port_twice(w, f"round {n}")
        for port in every:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=30) as answer:
                equal(answer.status, 200, f"port {port}")
        for path in w.runtime.glob("engine/repo-*/events.jsonl"):
            check('"service.failure"' not in path.read_text(encoding="utf-8"), f"round {n}: a failed bind in {path}")
        first = first or ports
        moved = [f"{first[repo]} {results[repo]}" for repo in repos if ports[repo] != first[repo]]
        equal(moved, [], f"round {n}: the same ports again")
        stop(w, repos)


@test
def overtaken_between_plan_and_start(w):
    """Another repository reserves the planned ports meanwhile, and is not even on them any more: its reservation counts."""
    repo, other = repositories(w, 2)
    (repo / ".envctl.lua").write_text(f"""return {{ envctl = 1, on = {{ before_start = function(ev, host)
  host.run {{ "sh", "-c", "touch {w.base}/planned; while ! test -e {w.base}/go; do sleep 0.01; done" }}
end }} }}""", encoding="utf-8")
    w.envctl("script", "trust", cwd=repo, rc=0)
    slow = w.spawn(BIN, "start", "--headless", "--json", cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for((w.base / "planned").exists, "the plan")
    w.envctl("start", "--headless", cwd=other, rc=0)
    w.envctl("stop-all", cwd=other, rc=0)
    (w.base / "go").touch()
    out, told = (text.decode() for text in slow.communicate(timeout=120))
    equal(slow.returncode, 0, f"exit code of {out} {told}")
    no_port_twice(w, "two repositories")
    equal({s["port"] for s in json.loads(out)["services"]}, {w.port + 1, w.port + 51}, "the next slot")
    contains(told, f"port {w.port} of Main/backend is reserved for Main/backend of {other}", "why")
    stop(w, [repo])


@test(timeout=300)
def two_repositories_and_kills(w):
    """R25: whatever is killed in the middle of it, two repositories never meet on a port, and nothing of them is left behind."""
    repos = repositories(w, 3)
    third = repos.pop(0)
    rng = random.Random(SEED)
    for n in range(rounds(12)):
        what = f"seed {SEED} round {n}"
        for repo in rng.sample(repos, 2):
            p = w.spawn(BIN, rng.choice(["start", "start", "restart", "stop-all"]), "--headless", "--yes", cwd=repo,
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                p.wait(rng.uniform(0, 0.4))
            except subprocess.TimeoutExpired:
                if rng.random() < 0.4:
                    p.kill()
                if rng.random() < 0.4:
                    for keeper in w.keepers():
                        keeper.signal(signal.SIGKILL)
        at_once([lambda p=p: p.wait(60) for p in w.started])
        no_port_twice(w, what)
        wait_for(lambda: all(not busy(w, repo) for repo in repos), f"{what}: the keepers to come to rest")
        at_once([lambda r=r: w.envctl("start", "--headless", cwd=r) for r in repos])
        up = {}
        for repo in repos:
            shown = w.envctl("show-state", "--json", cwd=repo, rc=0).json()["state"]["services"]
            equal([s["live"] for s in shown.values()], [True, True], f"{what}: both run in {repo}")
            up[repo] = {s["actual_port"] for s in shown.values()}
        check(not up[repos[0]] & up[repos[1]], f"{what}: {up}")
    stop(w, repos)
    for repo in repos:
        shutil.rmtree(repo)
    w.envctl("start", "--headless", cwd=third, rc=0)
    equal({e["repo"] for e in reserved(w)}, {str(third)}, "reservations of what is gone")
    equal({e["slot"] for e in reserved(w)}, {0}, "and their ports are free again")
    stop(w, [third])


def busy(w, repo):
    return '"busy"' in w.envctl("stop", "--service", "nothing", "--json", cwd=repo).out


def stranger(w, family, host, port, *options):
    """A program of somebody else that holds a port."""
    code = ("import socket, sys, time\n"
            f"s = socket.socket({int(family)})\n"
            + "".join(f"s.setsockopt({', '.join(str(int(v)) for v in o)})\n" for o in options)
            + f"s.bind(({host!r}, {port}))\ns.listen()\nprint('up', flush=True)\ntime.sleep(600)\n")
    p = w.spawn("python3", "-c", code, stdout=subprocess.PIPE)
    w.started.remove(p)
    w.decoys.append(p)
    equal(p.stdout.readline(), b"up\n", "the stranger")
    return p


@test
def a_stranger_on_ipv6_alone(w):
    w.services(backend="", frontend="")
    if not socket.has_ipv6:
        raise Skipped("no IPv6")
    p = stranger(w, socket.AF_INET6, "::1", w.port, (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1))
    shown = w.envctl("explain-startup", "--json", rc=0).json()
    result = w.start()
    equal({s["actual_port"] for s in w.saved_state()["services"].values()}, {w.port + 1, w.port + 11}, "the slot moves as a whole")
    contains(result.err, f"port {w.port} of Main/backend is held by pid {p.pid}", "who has it")
    contains(shown["warnings"][0]["message"], f"pid {p.pid}", "the preview says it as well")
    w.stop_all()
    check(p.poll() is None, "the stranger lives")
    # Its turn is over: the reservation stays what it is, so that ports do not wander.
    p.kill()
    p.wait()
    w.start()
    equal({s["actual_port"] for s in w.saved_state()["services"].values()}, {w.port + 1, w.port + 11}, "ports stay")
    # What runs keeps its reservation; what does not is where it wishes to be, which a preview says without doing it.
    w.start("--clear-port-state")
    equal({e["slot"] for e in reserved(w)}, {1}, "it runs")
    w.stop_all()
    shown = w.envctl("explain-startup", "start", "--clear-port-state", "--json", rc=0).json()
    equal((shown["plan"]["projects"][0]["slot"], {e["slot"] for e in reserved(w)}), (0, {1}), "the preview")
    w.start("--clear-port-state")
    equal({s["actual_port"] for s in w.saved_state()["services"].values()}, {w.port, w.port + 10}, "a reservation anew")
    equal({e["slot"] for e in reserved(w)}, {0}, "and nothing of the old one")


@test
def a_stranger_that_the_plan_does_not_look_for(w):
    """Where only reservations are looked at the plan does not move; that the port is taken is said all the same."""
    w.services(backend="")
    p = stranger(w, socket.AF_INET, "127.0.0.1", w.port)
    error = w.envctl("start", "--headless", "--json", env={"ENVCTL_PORT_AVAILABILITY_MODE": "lock_only"}, rc=1).error()
    equal((error["code"], error["where"]), ("port_taken", "Main/backend"), "code")
    contains(error["message"], f"port {w.port} of Main/backend is held by pid {p.pid}", "who has it")
    contains(error["hint"], "ENVCTL_PORT_AVAILABILITY_MODE=auto", "what would look")
    check(p.poll() is None, "the stranger lives")


@test
def a_connection_in_time_wait(w):
    """What only lingers in the kernel is no holder: the port is used."""
    w.services(backend="")
    with socket.create_server(("127.0.0.1", w.port)) as server:
        with socket.create_connection(("127.0.0.1", w.port)) as client:
            peer, _ = server.accept()
            peer.close()
            client.recv(1)
    strict = socket.socket()
    try:
        strict.bind(("127.0.0.1", w.port))
        raise AssertionError("no TIME_WAIT there")
    except OSError:
        pass
    finally:
        strict.close()
    result = w.start()
    equal(w.saved_state()["services"]["Main Backend"]["actual_port"], w.port, "the wished port")
    check("moves" not in result.err, str(result))


@test
def what_has_a_port_without_listening(w):
    """A service could not listen there, so the port is left alone, and who or what has it is said."""
    port = w.port + 90  # no other test here leaves closed connections there
    w.services(backend="", BACKEND_PORT_BASE=port)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.bind(("127.0.0.1", port))
        client.connect(server.getsockname())
        result = w.start()
    equal(w.saved_state()["services"]["Main Backend"]["actual_port"], port + 1, "an outgoing connection has it")
    contains(result.err, f"port {port} of Main/backend is held by pid {os.getpid()} (", "who")
    w.stop_all()
    with socket.socket() as server:  # without SO_REUSEADDR: its closed connections keep everybody from the port
        server.bind(("127.0.0.1", port + 1))
        server.listen()
        with socket.create_connection(("127.0.0.1", port + 1)) as client:
            peer, _ = server.accept()
            peer.close()
            client.recv(1)
    result = w.start()
    equal(w.saved_state()["services"]["Main Backend"]["actual_port"], port + 2, "closed connections have it")
    contains(result.err, f"port {port + 1} of Main/backend is kept by closed connections", "what")


main()
