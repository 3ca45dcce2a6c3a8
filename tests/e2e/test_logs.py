#!/usr/bin/env python3
"""logs: the end of each log, what comes after it, and nothing that a terminal would act upon."""

import datetime
import os
import re
import select
import signal
import subprocess
import time

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
    equal(p.wait(60), 2, "exit code after Ctrl-C")
    numbers = [int(n) for n in re.findall(r"tick (\d+)\n", out.read_text(encoding="utf-8"))]
    equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "no line lost, none twice")


@test
def logs_of_what_has_ended(w):
    w.services(backend="--say 'before the end' --exit 4")
    w.envctl("start", "--headless", rc=1)
    contains(w.envctl("logs", "--all", rc=0).out, "before the end", "logs")


@test
def follow_loses_nothing_when_a_log_is_trimmed(w):
    """Lines of 1 KB, some 400 a second, and a cap of 1 MB: trimmed twice while it is followed."""
    w.services(backend="--tick 0.002 --pad 1000", ENVCTL_LOG_MAX_MB=1)
    w.start()
    path = w.saved_state()["services"]["Main Backend"]["log_path"]
    out = w.base / "follow.txt"
    with open(out, "wb") as f:
        p = w.spawn(BIN, "logs", "--all", "--follow", stdout=f, stderr=subprocess.STDOUT)
    first = wait_for(lambda: trimmed(path), "the log to be trimmed")
    wait_for(lambda: trimmed(path) > first, "the log to be trimmed again")
    p.send_signal(signal.SIGINT)
    equal(p.wait(60), 2, "exit code after Ctrl-C")
    text = out.read_text(encoding="utf-8")
    numbers = [int(n) for n in re.findall(r"^tick (\d+)\.+$", text, re.M)]
    equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "no line lost, none twice")
    check(len(numbers) > 1000 and "\0" not in text, f"{len(numbers)} lines")
    # What is left begins with a whole line.
    service = w.envctl("logs", "--all", "--logs-tail", "1000000", "--json", rc=0).json()["services"][0]
    check(service["trimmed_bytes"] > 1 << 19, f"trimmed: {service['trimmed_bytes']}")
    check(service["tail_lines"][0].startswith("tick "), f"first line: {service['tail_lines'][0][:80]!r}")


@test
def follow_goes_on_after_clear_logs(w):
    w.services(backend="--tick 0.02")
    w.start()
    out = w.base / "follow.txt"
    with open(out, "wb") as f:
        p = w.spawn(BIN, "logs", "--all", "--follow", stdout=f, stderr=subprocess.STDOUT)
    wait_for(lambda: b"tick" in out.read_bytes(), "the first lines")
    w.envctl("clear-logs", "--all", rc=0)
    size = out.stat().st_size
    wait_for(lambda: out.stat().st_size > size + 100, "lines after the log was emptied")
    p.send_signal(signal.SIGINT)
    equal(p.wait(60), 2, "exit code after Ctrl-C")


@test
def since(w):
    """What was written before a noted moment is not shown, what was written after it always is."""
    w.services(backend="--say early")
    w.start()
    path = w.saved_state()["services"]["Main Backend"]["log_path"]
    noted = wait_for(
        lambda: [n for n in open(path + ".times", encoding="utf-8") if int(n.split()[1]) == os.path.getsize(path)],
        "a note of the whole log",
    )
    # The service appends a line; half of the next one is there already.
    moment = int(noted[-1].split()[0]) + 1
    wait_for(lambda: time.time() * 1000 > moment, "the clock to go on")
    with open(path, "ab") as f:
        f.write(b"late\nunfinis")
    stamp = datetime.datetime.fromtimestamp(moment / 1000, datetime.timezone.utc).isoformat(timespec="milliseconds")
    for option in (stamp, stamp.replace("+00:00", "Z")):
        equal(lines_of(w, "--all", "--since", option)[2:], ["late", "unfinis"], f"--since {option}")
    wait_for(lambda: "late" not in lines_of(w, "--all", "--since", "0s"), "nothing since now")
    for option in ("90s", "10m", "2h", "1d"):
        check({"early", "late"} <= set(lines_of(w, "--all", "--since", option)), f"--since {option}")
    equal(lines_of(w, "--all", "--since", "2h", "--logs-tail", "1")[2:], ["unfinis"], "since, with a tail")
    document = w.envctl("logs", "--all", "--since", stamp, "--json", rc=0).json()
    equal(document["services"][0]["tail_lines"], ["late", "unfinis"], "lines in the document")
    equal((document["since"][:19], document["tail"]), (stamp[:19], None), "since and tail in the document")
    for bad in ("yesterday", "10", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "-5m"):
        result = w.envctl("logs", "--all", f"--since={bad}", "--json", rc=1).error()
        equal(result["code"], "invalid_value", f"code of --since={bad}")
        contains(result["message"], bad, "the error")


@test
def grep(w):
    w.services(backend="--flood 500 --say '\033[31mred\033[0m alert'")
    w.start()
    equal(lines_of(w, "--all", "--grep", "^line (7|1.3)$")[2:], ["line 7"] + [f"line 1{n}3" for n in range(10)], "--grep")
    equal(lines_of(w, "--all", "--grep", "^line", "--logs-tail", "2")[2:], ["line 499", "line 500"], "with a tail")
    equal(len(lines_of(w, "--all", "--grep", "^red alert$")), 3, "colours do not stand in the way")
    equal(lines_of(w, "--all", "--grep", "no such thing")[2:], [], "nothing matches")
    document = w.envctl("logs", "--all", "--grep", "^line 49.$", "--json", rc=0).json()
    equal(document["services"][0]["tail_lines"], [f"line {n}" for n in range(490, 500)], "lines in the document")
    equal(w.envctl("logs", "--all", "--grep", "(", "--json", rc=1).error()["code"], "invalid_value", "a bad pattern")


@test
def logs_of_earlier_runs(w):
    w.services(backend="--say 'the first run'", frontend="--say 'its frontend'")
    w.start()
    first = w.saved_state()["run_id"]
    error = w.envctl("logs", "--run", "previous", "--json", rc=1).error()
    equal((error["code"], error["hint"]), ("unknown_target", f"runs that are kept: {first}"), "there was none before")
    w.envctl("stop", "--service", "frontend", rc=0)
    contains(w.envctl("logs", "--service", "frontend", rc=0).out, "its frontend", "one that was stopped, asked for by name")
    check("its frontend" not in w.envctl("logs", "--all", rc=0).out, "among the others it would be noise")
    w.stop_all()
    error = w.envctl("logs", "--all", "--json", rc=1).error()
    equal(error["code"], "state_missing", "code without a run")
    contains(error["hint"], "--run previous", "hint")
    contains(w.envctl("logs", "--run", "previous", "--all", rc=0).out, "the first run", "logs of the last run")
    w.services(backend="--say 'the second run'")
    w.start()
    second = w.saved_state()["run_id"]
    for run, wanted in (("previous", "first"), (first, "first"), (second, "second")):
        out = w.envctl("logs", "--run", run, "--service", "backend", rc=0).out
        check(f"the {wanted} run" in out and "frontend" not in out, f"--run {run}: {out}")
    document = w.envctl("logs", "--run", first, "--all", "--json", rc=0).json()
    equal(document["run_id"], first, "run_id")
    equal([s["status"] for s in document["services"]], ["stopped", "stopped"], "status")
    for bad in ("run-1", "../runs", first[:-1], "."):
        error = w.envctl("logs", "--run", bad, "--all", "--json", rc=1).error()
        equal(error["code"], "unknown_target", f"code of --run {bad}")
        contains(error["hint"], second, "hint")


@test
def old_runs_go(w):
    w.services(backend="", ENVCTL_RUNS_KEEP=3)
    w.start()
    runs = w.scope_dir() / "runs"
    (runs / "notes").mkdir()
    w.allow_left.append(r"engine/repo-\w+/runs/notes")
    ids = [w.saved_state()["run_id"]]
    for _ in range(4):
        w.stop_all()
        w.start()
        ids.append(w.saved_state()["run_id"])
    equal(sorted(p.name for p in runs.iterdir()), ["notes", *ids[-3:]], "what is kept")
    contains(w.envctl("logs", "--all", "--run", "previous", rc=0).out, ids[-2], "the previous run")


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


@test
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
