#!/usr/bin/env python3
"""kill -9 of the client, of the keeper, or of both, at random moments of a start. Afterwards the state is valid JSON, every live
service is recorded, and stop-all leaves nothing. ENVCTL_ROUNDS=200 is the long form; ENVCTL_SEED repeats a run."""

import random
import select
import signal
import subprocess
import time

from drill import check_after_kill
from lib import BIN, PATIENCE, SEED, main, rounds, test


def one_round(w, rng, victims, span):
    client = w.spawn(BIN, "start", "--headless", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + rng.uniform(0, span)
    select.select([], [], [], max(0, deadline - time.monotonic()))
    if "client" in victims:
        client.kill()
    if "keeper" in victims:
        for keeper in w.keepers():
            keeper.signal(signal.SIGKILL)
    client.wait(30 * PATIENCE)
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


@test(timeout=300)
def client_dies(w):
    drill(w, {"client"}, rounds(40) // 4)


@test(timeout=600)
def keeper_dies(w):
    drill(w, {"keeper"}, rounds(40) // 2)


@test(timeout=300)
def both_die(w):
    drill(w, {"client", "keeper"}, rounds(40) // 4)


if __name__ == "__main__":
    main()
