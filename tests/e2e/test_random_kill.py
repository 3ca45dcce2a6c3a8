#!/usr/bin/env python3
"""kill -9 and SIGSTOP of the client, of the keeper, of services and of their children, at random moments of a start, a restart, a
resume or a stop. Afterwards the state is valid JSON, every live service is recorded, a stranger lives, and stop-all leaves nothing.
ENVCTL_ROUNDS=1000 is the long form; ENVCTL_SEED repeats the choices of a run."""

import random
import select
import signal
import subprocess
import time

from drill import check_after_kill, check_what_runs
from lib import BIN, PATIENCE, SEED, Proc, check, main, rounds, test


def one_round(w, rng, victims, span):
    client = w.spawn(BIN, "start", "--headless", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + rng.uniform(0, span)
    select.select([], [], [], max(0, deadline - time.monotonic()))
    if "client" in victims:
        client.kill()
    if "keeper" in victims:
        for keeper in w.keepers():
            keeper.signal(signal.SIGKILL)
    client.wait(60 * PATIENCE)
    w.started.remove(client)


def drill(w, victims, count):
    w.services(backend="--delay 0.02", frontend="")
    w.start()
    w.stop_all()
    began = time.monotonic()
    w.start()
    span = (time.monotonic() - began) * 1.2  # a start takes that long here, so kills fall into all of it
    w.stop_all()
    rng = random.Random(f"{SEED} {sorted(victims)}")
    for n in range(count):
        what = f"round {n + 1}, seed {SEED}, victims {sorted(victims)}"
        one_round(w, rng, victims, span)
        check_after_kill(w, what)


@test(timeout=300 + 3 * rounds(40))
def client_dies(w):
    drill(w, {"client"}, rounds(40) // 4)


@test(timeout=600 + 3 * rounds(40))
def keeper_dies(w):
    drill(w, {"keeper"}, rounds(40) // 2)


@test(timeout=300 + 3 * rounds(40))
def both_die(w):
    drill(w, {"client", "keeper"}, rounds(40) // 4)


COMMANDS = [["start"], ["start"], ["resume"], ["restart"], ["restart", "--service", "backend"], ["stop", "--service", "frontend"],
            ["stop-all"]]


def victims_of(w, client, rng):
    """Some of what there is at this moment: {process: signal}."""
    kinds = {"client": [Proc(client.pid)], "keeper": w.keepers(), "service": w.service_processes()}
    found = {}
    for kind in rng.sample(sorted(kinds), rng.choice([1, 1, 2, 3])):
        if kinds[kind]:
            found[rng.choice(kinds[kind])] = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP])
    return found


def pause(rng, longest):
    select.select([], [], [], rng.uniform(0, longest))


@test(timeout=300 + 6 * rounds(20))
def anything_anytime(w):
    w.services(backend="--child meek", frontend="--delay 0.02 --child meek")
    # A stranger that looks like a service of ours, and stands in the same directory.
    stranger = w.spawn(*w.command().format(port=w.port + 90).split(), cwd=w.repo / "backend", stdout=subprocess.DEVNULL)
    w.started.remove(stranger)
    w.decoys.append(stranger)
    rng = random.Random(f"{SEED} anything")
    for n in range(rounds(20)):
        command = rng.choice(COMMANDS)
        what = f"round {n + 1}, seed {SEED}, {command}"
        client = w.spawn(BIN, *command, "--headless", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pause(rng, 0.4)
        victims = victims_of(w, client, rng)
        for p, number in victims.items():
            p.signal(number)
        pause(rng, 0.2)
        for p in victims:
            p.signal(signal.SIGCONT)
        client.wait(60 * PATIENCE)
        w.started.remove(client)
        (check_after_kill if rng.random() < 0.3 else check_what_runs)(w, what)
        check(stranger.poll() is None, f"{what}: the stranger was ended")
    check_after_kill(w, "at the end")


if __name__ == "__main__":
    main()
