#!/usr/bin/env python3
"""Several clients at once, with random commands (R10): each of them succeeds or says who is busy, nothing hangs, and in the end the
state is the truth. The same while keepers, clients and services are killed. ENVCTL_ROUNDS=250 is the long form; ENVCTL_SEED repeats the choice of commands."""

import json
import random
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

from drill import check_after_kill, of_a_record
from lib import SEED, Proc, check, equal, main, rounds, test

COMMANDS = [
    (4, ["start", "--headless"]), (2, ["resume", "--headless"]), (3, ["restart", "--service", "backend", "--headless"]),
    (1, ["restart", "--headless"]), (3, ["stop", "--service", "frontend"]), (2, ["stop", "--all"]), (1, ["stop-all"]),
    (3, ["show-state"]), (2, ["health"]), (1, ["logs", "--all"]), (1, ["ports"]), (1, ["explain-startup"]),
]
# What a command may say when another client was faster.
SAID = {"busy", "state_missing", "requested_project_not_running", "unknown_target", "plan_stale"}
# These exit 1 to say something that is true at the moment: a report, not a failure.
REPORTS = {"show-state", "health"}


# What the death of the keeper, or of a service in the middle of its start, adds to that.
KILLED = {"keeper_lost", "keeper_failed", "service_exited", "not_stopped"}


def client(w, repo, number, count, killed=False):
    dice = random.Random(f"{SEED} {repo.name} {number}")
    words = [c for _, c in COMMANDS]
    weights = [n for n, _ in COMMANDS]
    seen = {}
    for n in range(count):
        command = dice.choices(words, weights)[0] + ["--json"] + (["--wait"] if dice.random() < 0.3 else [])
        if "--wait" in command and command[0] not in ("start", "resume", "restart", "stop", "stop-all"):
            command.remove("--wait")
        result = w.envctl(*command, cwd=repo, timeout=90)
        if killed and result.rc == -signal.SIGKILL:
            continue
        document = json.loads(result.out)
        code = result.rc and (document.get("error") or {}).get("code")
        check(
            result.rc == 0 or result.rc == 1 and (code in SAID or killed and code in KILLED or code is None and command[0] in REPORTS),
            f"seed {SEED}, {repo.name}, client {number}, command {n + 1}: {result}",
        )
        check("traceback" not in result.err, str(result))
        key = code or "done"
        seen[key] = seen.get(key, 0) + 1
    return seen


def storm(w, clients, count):
    """clients: [(repository, number)]."""
    with ThreadPoolExecutor(len(clients)) as pool:
        running = [pool.submit(client, w, repo, number, count) for repo, number in clients]
    total = {}
    for job in running:
        for key, n in job.result().items():
            total[key] = total.get(key, 0) + n
    print(f"# {total}")
    check(total["done"] > sum(total.values()) // 4, f"hardly anything was done: {total}")


def state_is_the_truth(w, *repos):
    """Nothing is busy any more: every client has its answer."""
    known = set()
    for repo in repos:
        shown = w.envctl("show-state", "--json", cwd=repo)
        for name, service in (shown.json()["state"]["services"] if shown.rc == 0 else {}).items():
            known.add(service["pid"])
            up = service["status"] in ("ready", "running")
            equal((name, service["live"]), (name, up), f"{repo.name}: live, with status {service['status']}")
    for p in w.service_processes():
        check(of_a_record(p, known), f"{p} runs and is not recorded")
    check(len(w.keepers()) <= len(repos), f"keepers: {w.keepers()}")


@test(timeout=300 + 4 * rounds(25))
def two_clients(w):
    w.services(backend="", frontend="--delay 0.02")
    storm(w, [(w.repo, 1), (w.repo, 2)], rounds(25))
    state_is_the_truth(w, w.repo)
    # It is not in anybody's way now.
    w.start()
    equal({s["live"] for s in w.state()["state"]["services"].values()}, {True}, "live")


@test(timeout=400 + 4 * rounds(25))
def many_clients_in_two_repositories(w):
    w.services(backend="", frontend="")
    other = w.base / "other"
    subprocess.run(["git", "clone", "-q", w.repo, other], env=w.env, check=True)
    config = (w.repo / ".envctl").read_text(encoding="utf-8")
    (other / ".envctl").write_text(config, encoding="utf-8")  # the same ports are wished by both
    storm(w, [(w.repo, n) for n in range(3)] + [(other, n) for n in range(3)], max(4, rounds(25) // 3))
    state_is_the_truth(w, w.repo, other)
    for repo in (other, w.repo):
        w.envctl("stop-all", "--wait", rc=0, cwd=repo)
    w.gone()


def killer(w, until):
    """kill -9 of a keeper, of a client, or of a service, again and again. Returns how many."""
    dice, count = random.Random(f"{SEED} kills"), 0
    while not until.wait(dice.uniform(0.02, 0.3)):
        clients = [Proc(p.pid) for p in list(w.started) if p.poll() is None]
        victims = {"keeper": w.keepers(), "client": clients, "service": w.service_processes()}[dice.choice(["keeper", "client", "service"])]
        if victims:
            dice.choice(victims).signal(signal.SIGKILL)
            count += 1
    return count


@test(timeout=400 + 4 * rounds(25))
def two_clients_and_a_killer(w):
    w.services(backend="", frontend="--delay 0.02")
    ended = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        kills = pool.submit(killer, w, ended)
        clients = [pool.submit(client, w, w.repo, n, rounds(25), killed=True) for n in (1, 2)]
        for c in clients:
            c.exception()  # waits
        ended.set()
    for c in clients:
        c.result()
    print(f"# {kills.result()} kills")
    check_after_kill(w, f"seed {SEED}")
    w.start()
    state_is_the_truth(w, w.repo)


if __name__ == "__main__":
    main()
