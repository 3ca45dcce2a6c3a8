"""The script host from outside: what the process holds, that it ends with its parent, and what a script can cost."""

import re
import resource
import select
import signal
import subprocess

from lib import BIN, PATIENCE, Proc, all_pids, check, contains, equal, main, read_bytes, test, wait_for

LOOP = "while true do end\n"


def hosts_of(w):
    """Script hosts below this test's processes."""
    found = []
    for pid in all_pids():
        p = Proc(pid)
        if "__script-host" in p.argv and p.ppid in {q.pid for q in w.started}:
            found.append(p)
    return found


def loading(w, text):
    """An envctl that is busy with a script, and its script host. The first of them is stopped, so that nobody's time is over before
    it is looked at."""
    w.services()
    w.write(".envctl.lua", text)
    parent = w.spawn(BIN, "script", "check", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    host = wait_for(lambda: next(iter(hosts_of(w)), None), "the script host")
    parent.send_signal(signal.SIGSTOP)
    wait_for(lambda: b"Seccomp:\t2" in read_bytes(f"/proc/{host.pid}/status"), "the cage")
    return parent, host


@test
def it_holds_nothing(w):
    parent, host = loading(w, LOOP)
    host.signal(signal.SIGSTOP)
    fds = host.fds()
    status = read_bytes(f"/proc/{host.pid}/status").decode()
    limits = read_bytes(f"/proc/{host.pid}/limits").decode()
    environment = host.environ()
    cwd = host.cwd()
    for p in (host, Proc(parent.pid)):
        p.signal(signal.SIGCONT)
    parent.wait()
    equal(sorted(fds), [0, 1, 2], f"descriptors ({fds})")
    check(fds[0].startswith("pipe:") and fds[1].startswith("pipe:"), f"pipes: {fds}")
    equal(fds[2], "/dev/null", "stderr")
    contains(status, "NoNewPrivs:\t1", "status")
    contains(status, "Seccomp:\t2", "status")
    check(re.search(r"Max open files +3 +3", limits), f"limits: {limits}")
    # A sanitizer maps more than any limit would leave it.
    check("/debug/" in BIN or re.search(r"Max address space +\d+ +\d+", limits), f"limits: {limits}")
    equal(cwd, "/", "directory")
    known = {"LC_ALL", "ENVCTL_LUA_DIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"}
    check(set(environment) <= known, f"environment: {environment}")


@test
def it_ends_with_its_parent(w):
    parent, host = loading(w, LOOP)
    host.signal(signal.SIGSTOP)  # its own time does not go on, and it reads no end of a pipe
    wait_for(lambda: Proc(host.pid).state == "T", "the script host to be stopped")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not host.alive, "the script host to end")


def processor_time():
    """What ended children of this program, and theirs, have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@test
def it_ends_in_time(w):
    """A script that does not stop costs about a second of processor time, and its line is named."""
    w.services()
    for text, line in ((LOOP, 1), ("local s = ('a'):rep(40)\nlocal x = s:find(('a*'):rep(40) .. 'b')", 2)):
        w.write(".envctl.lua", text)
        before = processor_time()
        result = w.envctl("script", "check", rc=1)
        took = processor_time() - before
        contains(result.out, f".envctl.lua:{line}: ran for ", "message")
        check(took < 2.5 * PATIENCE, f"took {took:.2f} s of processor time")


@test
def it_has_a_limit_of_memory(w):
    """64 MiB for the script, and no more than 16 MiB around it."""
    text = "local t = {}\nlocal function f() for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end end\nwhile true do pcall(f) end"
    parent, host = loading(w, text)
    peak = 0
    parent.send_signal(signal.SIGCONT)
    while parent.poll() is None:
        for text in read_bytes(f"/proc/{host.pid}/status").decode().splitlines():
            if text.startswith("VmHWM:"):
                peak = max(peak, int(text.split()[1]))
        select.select([], [], [], 0.002)
    if "/debug/" in BIN:
        return  # a sanitizer's memory is not the script's
    check(0 < peak < (64 + 16 + 8) * 1024, f"peak {peak} KiB")
    out = w.envctl("script", "check", rc=1).out
    # On a busy machine time can be over first.
    check(re.search(r"\.envctl\.lua:2: (needs more than 64 MiB of memory|ran for )", out), out)


@test
def no_script_no_process(w):
    w.services()
    trace = w.base / "trace"
    w.run("strace", "-f", "-qq", "-e", "trace=execve", "-o", trace, BIN, "script", "check", rc=0, env={"ASAN_OPTIONS": "detect_leaks=0"})
    equal(trace.read_text().count("execve("), 1, "programs")


main()
