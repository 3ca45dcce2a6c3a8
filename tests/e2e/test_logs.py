#!/usr/bin/env python3
"""logs: the end of each log, what comes after it, and nothing that a terminal would act upon."""

import os
import re
import select
import signal
import subprocess

from lib import BIN, check, contains, equal, main, test, wait_for


def lines_of(w, *args):
    return w.envctl("logs", *args, rc=0).out.splitlines()


@test
def the_tail(w):
    w.services(backend="--flood 100", frontend="--say hello")
    w.start()
    wait_for(lambda: "listening" in w.envctl("logs", "--all", rc=0).out, "the logs")
    out = lines_of(w, "--all")
    check("Main Backend: log" in out and "Main Frontend: log" in out, f"headings in {out}")
    check("line 100" in out and "line 50" not in out, "the default is a short tail")
    out = lines_of(w, "--service", "backend", "--logs-tail", "3")
    equal([s for s in out if s.startswith("line")], ["line 99", "line 100"], "--logs-tail 3")
    check("hello" not in out, "only the one service")
    services = w.envctl("logs", "--all", "--logs-tail", "2", "--json", rc=0).json()["services"]
    equal([s["name"] for s in services], ["Main Backend", "Main Frontend"], "names")
    for s in services:
        check(os.path.isabs(s["log_path"]) and os.path.exists(s["log_path"]), "log_path")


@test
def follow_until_interrupted(w):
    w.services(backend="--tick 0.02")
    w.start()
    out = w.base / "follow.txt"
    with open(out, "wb") as f:
        p = w.spawn(BIN, "logs", "--all", "--logs-follow", stdout=f, stderr=subprocess.STDOUT)
    wait_for(lambda: len(re.findall(r"tick \d+\n", out.read_text(encoding="utf-8"))) >= 10, "ten new lines")
    p.send_signal(signal.SIGINT)
    equal(p.wait(10), 2, "exit code after Ctrl-C")
    numbers = [int(n) for n in re.findall(r"tick (\d+)\n", out.read_text(encoding="utf-8"))]
    equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "no line lost, none twice")


@test
def logs_of_what_has_ended(w):
    w.services(backend="--say 'before the end' --exit 4")
    w.envctl("start", "--headless", rc=1)
    contains(w.envctl("logs", "--all", rc=0).out, "before the end", "logs")


@test
def no_logs_without_a_run(w):
    w.services(backend="")
    result = w.envctl("logs", "--all", "--json", rc=1)
    equal(result.error()["code"], "state_missing", "code")
    check(not w.runtime.exists(), "nothing was created")


@test
def a_bad_tail(w):
    w.services(backend="")
    w.start()
    for bad in ("x", "-1", "1.5"):
        result = w.envctl("logs", "--all", f"--logs-tail={bad}", rc=1)
        contains(result.err, bad, "the error")


@test
def an_unknown_service(w):
    w.services(backend="")
    w.start()
    result = w.envctl("logs", "--service", "bakend", "--json", rc=1)
    equal(result.error()["code"], "unknown_target", "code")


def on_disk(path):
    return os.stat(path).st_blocks * 512


def trimmed(path):
    """Where the data of a log begins."""
    with open(path, "rb") as f:
        return f.seek(0, os.SEEK_DATA)


@test(timeout=120)
def a_flood_does_not_fill_the_disk(w):
    """R35: the cap is on the disk, and the end of the log is whole. Between two looks of the keeper a flood may take some more."""
    cap = 1 << 20
    w.services(backend="--flood-mb 300", ENVCTL_LOG_MAX_MB=1, ENVCTL_BACKEND_READY_TIMEOUT=60)
    client = w.spawn(BIN, "start", "--headless", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    path = wait_for(lambda: next(w.runtime.glob("engine/*/runs/*/*_backend.txt"), None), "the log")
    most = 0
    while client.poll() is None:
        most = max(most, on_disk(path))
        select.select([], [], [], 0.005)
    equal(client.returncode, 0, "exit code of start")
    check(os.path.getsize(path) > 300 << 20, "all of it was written")
    check(most < 2 * cap + (100 << 20), f"{most >> 20} MB on disk at most")
    wait_for(lambda: on_disk(path) <= 2 * cap, lambda: f"{on_disk(path)} bytes on disk to be {2 * cap}")
    tail = lines_of(w, "--all", "--logs-tail", "200")[2:]
    contains(tail[-1], "listening", "the last line")
    numbers = [int(line) for line in tail if line.strip().isdigit()]
    equal(numbers, list(range(300 * 1024 - len(numbers), 300 * 1024)), "the end of the flood")


@test
def the_cap_is_kept_by_the_next_keeper(w):
    w.services(backend="--flood-mb 3 --tick 0.01", ENVCTL_LOG_MAX_MB=1)
    w.start()
    path = w.saved_state()["services"]["Main Backend"]["log_path"]
    keeper = w.keepers()[0]
    keeper.signal(signal.SIGKILL)
    wait_for(lambda: not keeper.alive, "the keeper to be gone")
    with open(path, "ab") as f:  # what the service wrote meanwhile
        f.write(b"x" * 1023 * 4096 + b"\n")
    w.start()
    wait_for(lambda: on_disk(path) <= 2 << 20, lambda: f"{on_disk(path)} bytes on disk to be fewer")


if __name__ == "__main__":
    main()
