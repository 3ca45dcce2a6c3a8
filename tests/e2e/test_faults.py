#!/usr/bin/env python3
"""Faults of the machine: a full disk, a read-only one, few descriptors (R08), the power goes (R04), a wall clock that jumps (R22), a
state file that is garbled; and many services that end at once (R16)."""

import contextlib
import ctypes
import fcntl
import filecmp
import functools
import json
import os
import re
import random
import resource
import shutil
import signal
import subprocess
import time

from lib import BIN, SEED, TOP, Failed, Proc, Skipped, check, contains, equal, main, rounds, test, wait_for

CLONE_NEWNS = 0x20000
CLOCK = TOP / "tests/fixtures/preload/clock.c"


@functools.cache
def mounts_of_our_own():
    """From here on what is mounted is seen by this test program and the children that it has from now on."""
    if os.geteuid() != 0 or ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
        raise Skipped("mounting needs root")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


@contextlib.contextmanager
def mounted(w, what, where, *options):
    mounts_of_our_own()
    where.mkdir(mode=0o700, exist_ok=True)
    if subprocess.run(["mount", *options, what, where], check=False).returncode != 0:
        raise Skipped(f"this machine does not mount {' '.join(options)}")

    with contextlib.ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", "--lazy", where], check=True)
        w.endings.append(stack.close)  # once, whoever comes first
        yield


@contextlib.contextmanager
def small_disk(w, size):
    """A small tmpfs as the runtime root."""
    with mounted(w, "none", w.runtime, "-t", "tmpfs", "-o", f"mode=700,size={size}"):
        yield
        w.stop_all()
        w.gone()


def fill(path):
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"\0" * 4096)
        except OSError:
            pass


def looking_and_stopping_work(w, **options):
    """status, logs, stop and stop-all succeed; nothing is left."""
    shown = w.envctl("show-state", "--json", rc=0, **options).json()["state"]["services"]
    equal({n: s["live"] for n, s in shown.items()}, {"Main Backend": True, "Main Frontend": True}, "live")
    contains(w.envctl("logs", "--all", rc=0, **options).out, "listening", "logs")
    w.envctl("health", rc=0, **options)
    w.envctl("stop", "--service", "frontend", rc=0, **options)
    equal(len(w.service_processes()), 1, "services after stop")
    w.envctl("stop-all", rc=0, **options)
    w.gone()


@test
def a_full_disk(w):
    with small_disk(w, "1m"):
        w.services(backend="", frontend="")
        w.start()
        fill(w.runtime / "filler")
        looking_and_stopping_work(w)
        # Nothing is started on the full disk, and everything when there is room again.
        error = w.envctl("start", "--headless", "--json", rc=1).error()
        contains(error["message"], str(w.runtime), "the message names the place")
        equal(w.service_processes(), [], "nothing was started")
        w.gone()
        (w.runtime / "filler").unlink()
        w.start()


@test
def a_full_disk_and_a_restart(w):
    """What cannot be recorded is not started, and what runs is not ended for it."""
    with small_disk(w, "1m"):
        w.services(backend="", frontend="")
        w.start()
        pids = {p.pid for p in w.service_processes()}
        fill(w.runtime / "filler")
        error = w.envctl("restart", "--service", "backend", "--json", rc=1).error()
        check(error["hint"], f"a way out: {error}")
        equal({p.pid for p in w.service_processes()}, pids, "what runs")


@test
def a_read_only_disk(w):
    """Everything has ended (a disk with files open for writing cannot become read-only), and nobody could record it."""
    with small_disk(w, "1m"):
        w.services(backend="", frontend="")
        w.start()
        for p in w.keepers() + w.service_processes():
            p.signal(signal.SIGKILL)
        w.gone()
        # Busy as long as somebody is still writing.
        wait_for(lambda: subprocess.run(["mount", "-o", "remount,ro", w.runtime], capture_output=True).returncode == 0, "the disk")
        shown = w.envctl("show-state", "--json", rc=0).json()["state"]["services"]
        equal({s["live"] for s in shown.values()}, {False}, "live")
        contains(w.envctl("logs", "--all", rc=0).out, "listening", "logs")
        error = w.envctl("start", "--headless", "--json", rc=1).error()
        contains(error["message"], str(w.runtime), "what it says")
        equal(w.processes(), [], "processes after start")
        done = w.envctl("stop-all", "--json", rc=0).json()
        equal([s["was_alive"] for s in done["stopped"]], [False, False], "what had ended")
        contains(done["unwritten"], str(w.runtime), "what could not be written")
        subprocess.run(["mount", "-o", "remount,rw", w.runtime], check=True)


@contextlib.contextmanager
def read_only_from_now_on(w):
    """What is open for writing stays so; from now on nothing else below the runtime root can be opened for that."""
    with mounted(w, w.runtime, w.runtime, "--bind"):
        subprocess.run(["mount", "-o", "remount,bind,ro", w.runtime], check=True)
        yield


def stopping_works_and_says_what_is_not_written(w):
    """stop and stop-all on the read-only disk; and the next stop-all on one that can be written cleans up."""
    contains(w.envctl("logs", "--all", rc=0).out, "listening", "logs")
    result = w.envctl("stop", "--service", "frontend", rc=0)
    contains(result.err, f"what was stopped could not be recorded: {w.runtime}", "stop")
    equal([p.cwd() for p in w.service_processes()], [str(w.repo / "backend")], "what runs after stop")
    done = w.envctl("stop-all", "--json", rc=0).json()
    contains(done["unwritten"], str(w.runtime), "what stop-all says")
    equal(w.service_processes(), [], "services after stop-all")
    shown = w.envctl("show-state", "--json", rc=0).json()["state"]["services"]
    equal({s["live"] for s in shown.values()}, {False}, "what the old state says is looked at again")


@test
def a_read_only_disk_with_a_keeper(w):
    mounts_of_our_own()  # the keeper's too
    w.services(backend="", frontend="")
    w.start()
    with read_only_from_now_on(w):
        stopping_works_and_says_what_is_not_written(w)
        w.gone()
    equal(w.envctl("stop-all", "--json", rc=0).json()["unwritten"], None, "a disk that can be written")
    equal(w.envctl("show-state", "--json", rc=1).json()["found"], False, "what is left of the state")


@test
def a_read_only_disk_without_a_keeper(w):
    """None can begin to listen there: the client ends the services, which live, by itself."""
    w.services(backend="", frontend="")
    w.start()
    for p in w.keepers():
        p.signal(signal.SIGKILL)
    wait_for(lambda: not w.keepers(), "the keeper to end")
    with read_only_from_now_on(w):
        # As long as somebody holds the lock there is a keeper that is about to listen, or about to go.
        with open(w.scope_dir() / "keeper.lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            equal(w.envctl("stop-all", "--json", rc=1).error()["code"], "busy", "with the lock of a keeper")
            equal(len(w.service_processes()), 2, "services")
        stopping_works_and_says_what_is_not_written(w)
        equal(w.keepers(), [], "keepers")
    equal(w.envctl("stop-all", "--json", rc=0).json()["unwritten"], None, "a disk that can be written")
    equal(w.envctl("show-state", "--json", rc=1).json()["found"], False, "what is left of the state")


def disk_at_one_moment(image, copy):
    """What would be on the disk if the power went now: a copy of it, taken while nothing was written."""
    while True:
        subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        if filecmp.cmp(image, copy, shallow=False):
            return


def frozen_in_a_restart(w, image, copy):
    """A restart whose keeper is stopped when it has saved that the old one has ended: the disk of that moment, however long it takes
    to copy it. Then it goes on."""
    (keeper,) = w.keepers()
    acknowledged = w.saved_state()["generation"]
    client = w.spawn(BIN, "restart", "--service", "backend", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: w.saved_state()["generation"] > acknowledged, "the first save")
    keeper.signal(signal.SIGSTOP)
    wait_for(lambda: Proc(keeper.pid).state == "T", "the keeper to be stopped")
    disk_at_one_moment(image, copy)
    keeper.signal(signal.SIGCONT)
    equal(client.wait(60), 0, "exit code of restart")
    return acknowledged


def after_the_cut(w, copy, acknowledged, what):
    """What a machine finds that starts with that disk: a state that is whole, and none older than what was acknowledged."""
    disk = w.base / "after"
    with mounted(w, copy, disk, "-o", "loop"):
        scope = disk / w.scope_dir().relative_to(w.runtime)
        try:
            json.loads((scope.parent / "ports.json").read_text(encoding="utf-8"))
            generation = json.loads((scope / "run_state.json").read_text(encoding="utf-8"))["generation"]
        except (OSError, ValueError) as e:
            raise Failed(f"{what}: {e}") from None
        check(generation >= acknowledged, f"{what}: generation {generation} is there, {acknowledged} was acknowledged")
        shown = w.envctl("show-state", "--json", env={"RUN_SH_RUNTIME_DIR": str(disk)}, rc=0)
        equal(shown.json()["state"]["generation"], generation, f"{what}: the generation that is shown")


# The second promises the least about what is not synced.
DISKS = ("data=ordered", "data=writeback,noauto_da_alloc,commit=60")


@test(timeout=90 + 4 * rounds(50))
def the_power_goes(w):
    """R04: at any moment of a restart, on two kinds of disk. Nothing is corrupt, and nothing that was acknowledged is lost."""
    if not shutil.which("mkfs.ext4"):
        raise Skipped("mkfs.ext4 makes the disk")
    w.services(backend="", frontend="")
    w.allow_left.append(r"lost\+found")
    chance, image, copy = random.Random(SEED), w.base / "disk", w.base / "disk-after"
    for options in DISKS:
        subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "1024", image, "12M"], check=True, capture_output=True)
        with mounted(w, image, w.runtime, "-o", f"loop,{options}"):
            w.start()
            after_the_cut(w, copy, frozen_in_a_restart(w, image, copy), f"{options}, in the middle of a restart")
            longest = 0.3
            for n in range(rounds(50) // len(DISKS)):
                acknowledged = w.saved_state()["generation"]
                began = time.monotonic()
                client = w.spawn(BIN, "restart", "--service", "backend", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    client.wait(chance.uniform(0, longest))
                disk_at_one_moment(image, copy)
                equal(client.wait(60), 0, "exit code of restart")
                longest = time.monotonic() - began
                after_the_cut(w, copy, acknowledged, f"{options}, cut {n + 1}")
            w.stop_all()
            w.gone()


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))


@test
def few_descriptors_for_the_client(w):
    w.services(backend="", frontend="")
    w.start()
    looking_and_stopping_work(w, preexec_fn=few_descriptors)


@test
def few_descriptors_for_everybody(w):
    """The keeper has no more than that either: it starts everything, or says what it lacks and starts nothing."""
    w.services(backend="", frontend="")
    result = w.envctl("start", "--headless", "--json", preexec_fn=few_descriptors)
    if result.rc == 0:
        looking_and_stopping_work(w, preexec_fn=few_descriptors)
    else:
        contains(result.error()["message"], "too many open files", "the error")
        equal(w.service_processes(), [], "services after a failed start")
        w.envctl("stop-all", rc=0, preexec_fn=few_descriptors)
    w.gone()


def many(w, services):
    """A script with services that do not listen: {name: Lua fields}."""
    entries = ",\n".join(f"    {name} = {{ listens = false, {fields} }}" for name, fields in services.items())
    w.configure(MAIN_BACKEND_ENABLE=False, MAIN_FRONTEND_ENABLE=False)
    w.write(".envctl.lua", f"return {{\n  envctl = 1,\n  services = {{\n{entries}\n  }},\n}}\n")
    w.commit()
    w.envctl("script", "trust", rc=0)


def stopped(w):
    return w.envctl("stop-all", "--json", rc=0).json()["stopped"]


@test
def a_hundred_services_at_once(w):
    """R16; that it takes less than a second is for the benchmarks to say (tests/bench/many.py)."""
    many(w, {f"s{n}": 'command = "sleep 3600"' for n in range(100)})
    w.start(timeout=90)
    equal(len(w.service_processes()), 100, "processes")
    services = w.state()["state"]["services"]
    equal((len(services), {s["live"] for s in services.values()}), (100, {True}), "services that are shown, and whether they live")
    w.envctl("health", rc=0)
    result = stopped(w)
    equal([s["name"] for s in result if not s["stopped"] or s["killed"]], [], "services that had to be killed, or live")
    equal(len(result), 100, "services that were stopped")
    w.gone()


@test
def those_that_ignore_term_share_one_grace_period(w):
    """R16. Twenty with a grace period of 2 s each: one after the other they take 40 s."""
    command = "command = { 'sh', '-c', 'trap \"\" TERM; while :; do sleep 3600; done' }, stop = { timeout_ms = 2000 }"
    many(w, {f"s{n}": command for n in range(20)})
    w.start()
    # The shell has to have come to its trap.
    wait_for(lambda: len([p for p in w.service_processes() if p.comm == "sleep"]) == 20, "the services to ignore it")
    told = w.envctl("stop-all", rc=0, timeout=100).err
    asked = [m.start() for m in re.finditer(r"stopping$", told, re.M)]
    killed = [m.start() for m in re.finditer(r"stopped: killed$", told, re.M)]
    equal((len(asked), len(killed)), (20, 20), "what was asked to end, and what had to be killed")
    check(max(asked) < min(killed), f"they were ended one after the other:\n{told}")
    w.gone()


@test
def stopped_processes(w):
    """SIGSTOP: a service that was stopped ends politely all the same; a keeper that was is named, with the way out."""
    w.services(backend="", frontend="")
    w.start()
    service = w.saved_state()["services"]["Main Backend"]
    os.kill(service["pid"], signal.SIGSTOP)
    wait_for(lambda: Proc(service["pid"]).state == "T", "it to be stopped")
    stopped = w.envctl("stop", "--service", "backend", "--json", rc=0).json()["stopped"]
    equal([(s["name"], s["stopped"], s["killed"]) for s in stopped], [("Main Backend", True, False)], "no force was needed")
    (keeper,) = w.keepers()
    keeper.signal(signal.SIGSTOP)
    wait_for(lambda: Proc(keeper.pid).state == "T", "it to be stopped")
    w.envctl("show-state", rc=0)
    error = w.envctl("stop-all", "--json", rc=1, timeout=40).error()
    equal((error["code"], error["hint"]), ("keeper_failed", f"kill -CONT {keeper.pid} lets it go on"), "the way out")
    contains(error["message"], f"pid {keeper.pid}", "who")
    keeper.signal(signal.SIGCONT)
    w.stop_all()


@test
def the_wall_clock_jumps(w):
    """R22: an hour, ten years, to 1970, at any step. Waiting goes by the monotonic clock, and no age is negative."""
    shift, library = w.base / "shift", w.base / "clock.so"
    if not shutil.which("cc") or "/debug/" in BIN:
        raise Skipped("a compiler makes the clock that can be set, and the sanitizers want to be the first library")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", library, CLOCK, "-ldl"], check=True)
    w.env |= {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": str(shift)}

    def set_clock(seconds):
        shift.with_suffix(".new").write_text(str(int(seconds)), encoding="ascii")
        shift.with_suffix(".new").rename(shift)

    year = 365 * 24 * 3600
    jumps = [3600, -3600, 10 * year, -10 * year, -time.time() + 60, 0]
    set_clock(0)
    w.services(backend="--delay 0.1", frontend="")
    for n, jump in enumerate(jumps):
        w.start()
        set_clock(jump)
        for name, service in w.state()["state"]["services"].items():
            equal((name, service["live"]), (name, True), f"live after a jump of {jump} s")
            check(0 <= service["ready_ms"] < 60000, f"ready_ms {service['ready_ms']}")
        if jump <= 0:  # set back, what is old looks newer: more is shown, never less
            contains(w.envctl("logs", "--all", "--since", "10m", rc=0).out, "listening", "logs since")
        out = w.envctl("show-state", rc=0).out + w.envctl("health", rc=0).out
        check(not re.search(r"(?<![\w.-])-\d+ ?(s|ms|min|h|d)\b", out), f"a negative age in\n{out}")
        if n % 2:
            w.envctl("restart", "--service", "backend", rc=0)
        w.stop_all()
        w.gone()
    # A budget of a second is a second, whatever the clock says meanwhile.
    w.services(backend="--never-listen", ENVCTL_BACKEND_READY_TIMEOUT=1)
    for jump in (10 * year, -10 * year):
        set_clock(0)
        began = time.monotonic()
        client = w.spawn(BIN, "start", "--headless", "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        wait_for(w.service_processes, "the service to be there")
        set_clock(jump)
        out = client.communicate(timeout=60)[0]
        equal(json.loads(out)["error"]["code"], "service_not_ready", "code")
        check(time.monotonic() - began >= 1, "the budget ended early")
    set_clock(0)


def garbled(dice, text):
    """A state file as a broken disk, an editor or another program might leave it."""
    kind = dice.randrange(6)
    at = dice.randrange(len(text))
    if kind == 0:
        return text[:at]
    if kind == 1:
        return text[:at] + bytes([dice.randrange(256)]) + text[at + 1 :]
    if kind == 2:
        return text[:at] + dice.randbytes(dice.randint(1, 4096)) + text[at:]
    if kind == 3:  # a value of another type
        values = [b"null", b"[]", b"{}", b"-1", b"1e308", b'"x"', b"true", b"99999999999999999999"]
        places = list(re.finditer(rb': ("[^"]*"|\d+|null)', text))
        place = dice.choice(places)
        return text[: place.start(1)] + dice.choice(values) + text[place.end(1) :]
    if kind == 4:
        return b"\0" * len(text)
    return b"[" * 100000


@test(timeout=300)
def a_garbled_state(w):
    """Services run, and the state is broken behind envctl's back: it says so or lives with it, and stop-all ends everything."""
    w.services(backend="", frontend="")
    dice = random.Random(f"{SEED} garbled")
    said = {}
    for n in range(rounds(24)):
        w.start()
        for keeper in w.keepers():
            keeper.signal(signal.SIGKILL)
        wait_for(lambda: not w.keepers(), "the keeper to be gone")
        path = w.state_file()
        broken = garbled(dice, path.read_bytes())
        path.write_bytes(broken)
        for command in (["show-state"], ["health"], ["logs", "--all"], ["explain-startup"], ["start", "--headless"], ["stop-all"]):
            result = w.envctl(*command, "--json")
            what = f"round {n + 1}, seed {SEED}, {broken[:60]!r}…\n{result}"
            check(result.rc in (0, 1), what)
            code = (result.json().get("error") or {}).get("code") if result.rc else None
            check(code != "internal" and "traceback" not in result.err, what)
            said[code] = said.get(code, 0) + 1
        equal(result.rc, 0, f"stop-all: {what}")
        w.gone()
    print(f"# {said}")


if __name__ == "__main__":
    main()
