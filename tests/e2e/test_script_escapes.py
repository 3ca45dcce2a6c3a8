"""The attempts of tests/lua/script_escapes.txt, seen from the kernel: once the script host is in its cage, it asks for memory, time, its
pipe and its end, and for nothing else. It is not the filter that says no: nothing is even tried."""

import pathlib
import re
import shutil
import tempfile

from lib import BIN, check, main, test

CORPUS = pathlib.Path(__file__).resolve().parents[1] / "lua/script_escapes.txt"
ALLOWED = {
    "read", "write", "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "futex", "getrandom", "clock_gettime", "gettimeofday",
    "setitimer", "getitimer", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "getpid", "gettid",
    "sched_yield", "exit_group", "exit", "time",
}


def attempts():
    parts = CORPUS.read_bytes().split(b"\n=== ")[1:]
    return [(p.split(b"\n", 1)[0].decode(), p.split(b"\n", 1)[1].strip(b"\n")) for p in parts]


def calls_in_the_cage(directory):
    """Lines of the script hosts' traces after the filter was set. The files of other processes have none."""
    found = []
    for path in directory.iterdir():
        lines = path.read_text(errors="replace").splitlines()
        start = next((i for i, line in enumerate(lines) if line.startswith("seccomp(SECCOMP_SET_MODE_FILTER")), None)
        if start is not None:
            found.append(lines[start + 1 :])
    return found


def files(w):
    w.write("ok.lua", "return 1")
    w.write("data.txt", "not a script at all: {")
    w.write("sets.lua", "LEAKED = 1\nstring.LEAKED = 1")
    w.write("reads.lua", "return HERE ~= nil")
    w.write("concat.lua", "return table.concat({ 'own' })")
    w.write("loop.lua", "return envctl.include('loop.lua')")
    w.write("sub/x.lua", "return 1")
    (w.base / "secret.lua").write_text("return 1")
    (w.repo / "link.lua").symlink_to("../secret.lua")


@test(timeout=600)
def nothing_is_even_tried(w):
    check(shutil.which("strace"), "strace is needed")
    w.services(backend="")
    files(w)
    script = w.repo / ".envctl.lua"
    seen, hosts = set(), 0
    for name, body in attempts():
        script.write_bytes(b"local function probe()\n" + body + b"\nend\npcall(probe)\nreturn { envctl = 1 }\n")
        with tempfile.TemporaryDirectory(dir=w.base) as directory:
            trace = pathlib.Path(directory)
            strace = ["strace", "-ff", "-qq", "-s", "16", "-o", trace / "t"]
            w.run(*strace, BIN, "script", "status", "--json", env={"ASAN_OPTIONS": "detect_leaks=0"})
            cages = calls_in_the_cage(trace)
        check(cages, f"{name}: no script host was seen")
        hosts += len(cages)
        for lines in cages:
            for line in lines:
                check("SIGSYS" not in line, f"{name}: {line}")
                call = re.match(r"(?:<\.\.\. )?(\w+)(?:\(| resumed)", line)
                if call:
                    check(call[1] in ALLOWED, f"{name}: {line}")
                    seen.add(call[1])
    check(hosts >= 130, f"{hosts} script hosts")
    check({"read", "write"} <= seen, f"seen: {sorted(seen)}")
    check(not list(w.repo.glob("core*")), "core files")


main()
