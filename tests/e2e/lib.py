"""The harness of the end-to-end tests. Python's standard library only.

A test file looks like this, and is an executable of its own:

    from lib import main, test

    @test
    def starts(w):
        w.services(backend="")
        w.envctl("start", "--headless", rc=0)

    main()

Every test gets a fresh `World`: a throw-away repository, home and runtime root below one temporary directory, a block of ports
that no other test uses, and an environment that points nowhere else. When the test returns, `stop-all` must succeed and leave
nothing: no process, no port, no stray file. Whatever is left is ended by pid with its identity checked, also after a failure and
when the run is interrupted.
Waiting is always for something, with a deadline: there are no bare sleeps.
"""

import contextlib
import inspect
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True

TOP = Path(__file__).resolve().parents[2]
BIN = os.path.abspath(os.environ.get("ENVCTL_BIN") or TOP / "build/release/envctl")
SVC = TOP / "tests/fixtures/svc.py"
PYTHON = next(p for p in ("/usr/bin/python3", sys.executable) if os.path.exists(p))
# A binary with sanitizers, on a loaded machine, is several times slower; deadlines are for hangs, not for measuring.
PATIENCE = float(os.environ.get("ENVCTL_TEST_PATIENCE", "3" if "/debug/" in BIN else "1"))
SEED = int(os.environ.get("ENVCTL_SEED", "20251125"))


def rounds(default):
    """How often a repeated test repeats: ENVCTL_ROUNDS, or the short form that fits into every run."""
    return int(os.environ.get("ENVCTL_ROUNDS") or default)


class Skipped(Exception):
    """This machine cannot run the test; the reason is shown and counted, and never called a success."""


class Failed(Exception):
    """An expectation that does not hold."""


def check(condition, message):
    if not condition:
        raise Failed(message if isinstance(message, str) else message())


def equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def contains(text, part, what):
    check(part in text, f"{what}: no {part!r} in:\n{text}")


def wait_for(look, what, timeout=30.0):
    """Looks until the result is true, and returns it."""
    deadline = time.monotonic() + timeout * PATIENCE
    pause = 0.001
    while True:
        result = look()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failed(f"gave up waiting for {what}" if isinstance(what, str) else f"gave up waiting for {what()}")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def at_once(jobs):
    """Calls all of them side by side. Returns what they return; raises what the first of them raises when all are through."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        running = [pool.submit(job) for job in jobs]
    return [r.result() for r in running]


# --- processes -------------------------------------------------------------------------------------------------------


def read_bytes(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


class Proc:
    """One process, recognised again by its start time."""

    def __init__(self, pid):
        self.pid = pid
        stat = read_bytes(f"/proc/{pid}/stat")
        fields = stat[stat.rfind(b")") + 2 :].split()
        self.exists = len(fields) > 19
        self.state = fields[0].decode() if self.exists else "gone"
        self.ppid = int(fields[1]) if self.exists else 0
        self.session = int(fields[3]) if self.exists else 0
        self.start = int(fields[19]) if self.exists else 0
        self.comm = stat[stat.find(b"(") + 1 : stat.rfind(b")")].decode(errors="replace")
        self.argv = [a.decode(errors="replace") for a in read_bytes(f"/proc/{pid}/cmdline").split(b"\0")[:-1]]

    @property
    def alive(self):
        now = Proc.quick(self.pid)
        return now is not None and now == self.start

    @staticmethod
    def quick(pid):
        """Start time of a process that is no zombie, or None."""
        stat = read_bytes(f"/proc/{pid}/stat")
        fields = stat[stat.rfind(b")") + 2 :].split()
        return int(fields[19]) if len(fields) > 19 and fields[0] not in (b"Z", b"X") else None

    def environ(self):
        pairs = read_bytes(f"/proc/{self.pid}/environ").split(b"\0")
        return dict(p.decode(errors="replace").split("=", 1) for p in pairs if b"=" in p)

    def cwd(self):
        try:
            return os.readlink(f"/proc/{self.pid}/cwd")
        except OSError:
            return ""

    def fds(self):
        found = {}
        try:
            for name in os.listdir(f"/proc/{self.pid}/fd"):
                found[int(name)] = os.readlink(f"/proc/{self.pid}/fd/{name}")
        except OSError:
            pass
        return found

    def signal(self, number):
        """Signals exactly this process, never a later one with its pid."""
        try:
            fd = os.pidfd_open(self.pid)
        except OSError:
            return
        try:
            if self.alive:
                signal.pidfd_send_signal(fd, number)
        except OSError:
            pass
        finally:
            os.close(fd)

    def __repr__(self):
        return f"pid {self.pid} ({' '.join(self.argv)[:120] or self.comm}) in {self.cwd() or '?'}"


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def ancestors():
    pids, pid = set(), os.getpid()
    while pid > 1:
        pids.add(pid)
        pid = Proc(pid).ppid
    return pids


def processes_of(base, spared=()):
    """Every process that belongs to a directory: by environment, working directory or command line."""
    base, own, found = str(base), ancestors(), []
    for pid in all_pids():
        if pid in own or pid in spared:
            continue
        p = Proc(pid)
        if not p.exists or p.state in "ZX":
            continue
        # Whatever was started from a world carries its directory in the environment (HOME and more of them).
        if (
            base.encode() in read_bytes(f"/proc/{pid}/environ")
            or (p.cwd() + "/").startswith(base + "/")
            or any(base in a for a in p.argv)
        ):
            found.append(p)
    return found


def end_processes(base):
    """Ends them by force, until there are none. Returns what had to be ended."""
    ended, deadline = [], time.monotonic() + 30 * PATIENCE
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        left = processes_of(base)
        # One that was forked during the look may have been missed.
        quiet = 0 if left else quiet + 1
        for p in left:
            ended.append(repr(p))
            p.signal(signal.SIGKILL)
        if left:
            select.select([], [], [], 0.01)
    return ended


def listening_ports():
    """{port: [inode, …]} of every listening TCP socket."""
    found = {}
    for name in ("tcp", "tcp6"):
        for line in read_bytes(f"/proc/net/{name}").decode().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.setdefault(int(fields[1].rsplit(":", 1)[1], 16), []).append(int(fields[9]))
    return found


def listens(port):
    return port in listening_ports()


def owner_of(port, candidates):
    """The first of the candidate processes that listens on a port."""
    inodes = {f"socket:[{i}]" for i in listening_ports().get(port, [])}
    return next((p for p in candidates if inodes & set(p.fds().values())), None)


def ports_in_use():
    """Local ports of all TCP sockets. A closed connection keeps its port for a minute, and a test with a fixed port from it."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in read_bytes(f"/proc/net/{name}").decode().splitlines()[1:]:
            found.add(int(line.split()[1].rsplit(":", 1)[1], 16))
    return found


def take_ports():
    """A block of 100 ports that no other running test uses. The lock is an abstract socket: it ends with this process."""
    slots = list(range(120))
    random.Random(os.getpid()).shuffle(slots)
    used = {port // 100 * 100 for port in ports_in_use()}
    # Those that rest last: there can be more tests in a minute than blocks.
    for slot in sorted(slots, key=lambda n: 20000 + 100 * n in used):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0envctl-e2e-ports-{slot}")
        except OSError:
            lock.close()
            continue
        base = 20000 + 100 * slot
        if not any(base <= port < base + 100 for port in listening_ports()):
            return lock, base
        lock.close()
    raise Failed("no free block of ports")


# --- the world -------------------------------------------------------------------------------------------------------


class Result:
    def __init__(self, argv, rc, out, err, seconds):
        self.argv, self.rc, self.out, self.err, self.seconds = argv, rc, out, err, seconds

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError:
            raise Failed(f"{self}: stdout is not one JSON document") from None

    def error(self):
        """The error object of a command that failed with --json."""
        document = self.json()
        check(document.get("ok") is False and isinstance(document.get("error"), dict), f"no error document\n{self}")
        return document["error"]

    def __str__(self):
        parts = [f"`{' '.join(self.argv)}` exited {self.rc} after {self.seconds:.1f} s"]
        for name, text in (("stdout", self.out), ("stderr", self.err)):
            if text.strip():
                parts.append(f"--- {name}\n{text.rstrip()[-4000:]}")
        return "\n".join(parts)


# What a scope directory, the durable root and the runtime root may hold after everything was stopped.
KEPT = [
    r"python-engine",
    r"engine",
    r"engine/ports\.(json|lock|turn)",
    r"engine/preparation(-\d\.lock|\.turn)",
    r"engine/(repo-[0-9a-f]{12})",
    r"engine/repo-[0-9a-f]{12}/(keeper\.(lock|log|err)|events\.jsonl(\.1)?|error_report\.json|runs)",
    r"engine/repo-[0-9a-f]{12}/planning_selection\.json",
    r"engine/repo-[0-9a-f]{12}/containers\.(docker|podman)",
    r"engine/repo-[0-9a-f]{12}/run_state\.json\.(corrupt|python)-\d+T\d+",
    r"engine/repo-[0-9a-f]{12}/prepared(/[\w.-]+-[0-9a-f]{16}\.json)?",
    r"engine/repo-[0-9a-f]{12}/runs/run-\d{14}-[0-9a-f]{8}",
    r"engine/repo-[0-9a-f]{12}/runs/run-[^/]+/(run_state|runtime_map|ports_manifest|error_report)\.json",
    r"engine/repo-[0-9a-f]{12}/runs/run-[^/]+/[\w.-]+\.txt(\.times)?",
]


WORLDS = []  # those that are open


class World:
    def __init__(self, name):
        self.base = Path(tempfile.mkdtemp(prefix="e2e-", dir=os.environ.get("TMPDIR"))).resolve()
        self.name = name
        self.repo = self.base / "repo"
        self.runtime = self.base / "runtime"
        for part in ("repo", "home", "config", "state", "tmp"):
            (self.base / part).mkdir()
        self.lock, self.port = take_ports()
        self.env = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.base / "home"),
            "XDG_CONFIG_HOME": str(self.base / "config"),
            "XDG_STATE_HOME": str(self.base / "state"),
            "XDG_CACHE_HOME": str(self.base / "home/.cache"),
            "RUN_SH_RUNTIME_DIR": str(self.runtime),
            "TMPDIR": str(self.base / "tmp"),
            "GIT_CONFIG_NOSYSTEM": "1",
            # A sanitizer's report goes to a file: the keeper has nobody who reads its stderr.
            "ASAN_OPTIONS": f"log_path={self.base}/sanitizer:detect_leaks={os.environ.get('ENVCTL_TEST_LSAN', '1')}",
            "UBSAN_OPTIONS": f"log_path={self.base}/sanitizer:print_stacktrace=1:halt_on_error=1",
            "LSAN_OPTIONS": "max_leaks=20",
        }
        for name in ("ENVCTL_LUA_DIR", "ENVCTL_FAULT"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        self.spawning = threading.RLock()
        self.closed = False
        self.endings = []  # what else has to be undone, in any case and perhaps twice: functions, called in reverse
        self.started = []  # processes of the test itself
        self.decoys = []  # processes that must survive everything; never counted as leaks
        self.check_leaks = True
        self.allow_left = []  # more patterns like KEPT
        WORLDS.append(self)
        subprocess.run(["git", "-c", "init.defaultBranch=main", "init", "-q", str(self.repo)], env=self.env, check=True)

    # Preparing

    def write(self, path, text, mode=None):
        path = self.repo / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if mode is not None:
            path.chmod(mode)
        return path

    def configure(self, extra="", **keys):
        """Writes .envctl: this test's ports, then the given keys, then `extra` as it is."""
        values = {"BACKEND_PORT_BASE": self.port, "FRONTEND_PORT_BASE": self.port + 10, "PORT_SPACING": 20, **keys}
        lines = [f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in values.items()]
        return self.write(".envctl", "\n".join(lines) + "\n" + extra)

    def command(self, options=""):
        """Start command of a service of our own making (tests/fixtures/svc.py)."""
        return f"{PYTHON} -S -E {SVC} --port {{port}} {options}".rstrip()

    def services(self, extra="", **options):
        """A repository with the given services, each with options of svc.py: services(backend="--delay 1", frontend="")."""
        keys = {}
        for name in ("backend", "frontend"):
            if name in options:
                (self.repo / name).mkdir(exist_ok=True)
                self.write(f"{name}/README", "a service\n")
                keys[f"ENVCTL_{name.upper()}_START_CMD"] = self.command(options.pop(name))
            else:
                keys[f"MAIN_{name.upper()}_ENABLE"] = False
        self.configure(extra, **keys, **options)
        self.commit()

    def shop(self, *overlays):
        """A copy of examples/shop, with other folders of examples/ on top, on this test's ports."""
        for folder in ("shop", *overlays):
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(TOP / "examples" / folder, self.repo, dirs_exist_ok=True, ignore=ignore)
        text = (self.repo / ".envctl").read_text(encoding="utf-8")
        for key, offset in {"BACKEND_PORT_BASE": 0, "FRONTEND_PORT_BASE": 10, "DB_PORT": 40, "REDIS_PORT": 60}.items():
            text = re.sub(f"(?m)^{key}=.*$", f"{key}={self.port + offset}", text)
        (self.repo / ".envctl").write_text(text, encoding="utf-8")
        self.commit()

    def git(self, *args):
        who = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"]
        done = subprocess.run(["git", "-C", str(self.repo), *who, *args], env=self.env, capture_output=True, text=True)
        check(done.returncode == 0, f"git {' '.join(args)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", "state")

    # Running

    def spawn(self, *argv, **options):
        """Starts a process of the test's own; it is ended with the world."""
        options.setdefault("env", self.env)
        options.setdefault("cwd", self.repo)
        options.setdefault("stdin", subprocess.DEVNULL)
        with self.spawning:
            check(not self.closed, "the test has ended: nothing is started any more")
            p = subprocess.Popen([str(a) for a in argv], **options)
            self.started.append(p)
        return p

    def run(self, *argv, timeout=60, rc=None, env=None, cwd=None, stdin=None, **options):
        argv = [str(a) for a in argv]
        began = time.monotonic()
        p = self.spawn(
            *argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            env={**self.env, **(env or {})},
            cwd=cwd or self.repo,
            **options,
        )
        try:
            out, err = p.communicate(stdin.encode() if stdin is not None else None, timeout=timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
            raise Failed(f"no end after {timeout * PATIENCE:.0f} s: "
                         + str(Result(argv, p.returncode, out.decode(errors='replace'), err.decode(errors='replace'), timeout))
                         ) from None
        finally:
            self.started.remove(p)
        result = Result(argv, p.returncode, out.decode(errors="replace"), err.decode(errors="replace"), time.monotonic() - began)
        result.out_bytes, result.err_bytes = out, err
        if rc is not None and p.returncode != rc:
            raise Failed(f"wanted exit code {rc}\n{result}")
        return result

    def envctl(self, *args, **options):
        return self.run(BIN, *args, **options)

    def start(self, *args, **options):
        options.setdefault("rc", 0)
        return self.envctl("start", "--headless", *args, **options)

    def stop_all(self, **options):
        """`stop-all`, once a start whose client was killed is through (until then the answer is "busy")."""

        def attempt():
            result = self.envctl("stop-all", "--json", **options)
            return None if result.rc == 1 and '"busy"' in result.out else result

        result = wait_for(attempt, "the keeper not to be busy", 90)
        equal(result.rc, 0, f"exit code of stop-all\n{result}")
        return result

    # Looking

    def scope_dir(self):
        found = sorted((self.runtime / "engine").glob("repo-*"))
        return found[0] if found else None

    def state_file(self):
        return self.scope_dir() and self.scope_dir() / "run_state.json"

    def saved_state(self):
        """run_state.json as it is on disk, or None. Raises when it is there and no JSON object."""
        path = self.state_file()
        if not path or not path.exists():
            return None
        text = path.read_text(encoding="utf-8")
        try:
            document = json.loads(text)
        except ValueError as e:
            raise Failed(f"{path} is no JSON ({e}):\n{text[:400]}") from None
        check(isinstance(document, dict), f"{path} is no JSON object")
        return document

    def state(self):
        """What `show-state --json` says."""
        return self.envctl("show-state", "--json").json()

    def events(self):
        path = self.scope_dir() and self.scope_dir() / "events.jsonl"
        if not path or not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]

    def processes(self):
        """Every process that belongs to this world."""
        return processes_of(self.base, {p.pid for p in self.started} | {p.pid for p in self.decoys})

    def keepers(self):
        return [p for p in self.processes() if "__keeper" in p.argv]

    def ask_keeper(self, op):
        """The keeper's answer to a request without arguments, in its own protocol; None when no keeper answers."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(30 * PATIENCE)
                s.connect(str(self.scope_dir() / "keeper.sock"))
                s.sendall(b'{"envctl": 1, "version": "test"}\n' + json.dumps({"id": "t", "op": op}).encode() + b"\n")
                with s.makefile(encoding="utf-8") as lines:
                    for line in lines:
                        message = json.loads(line)
                        if message.get("id") == "t":
                            return message
        except OSError:
            pass
        return None

    def keeper_is_busy(self):
        answer = self.ask_keeper("status")
        return answer is not None and answer["result"]["operation"] is not None

    def service_processes(self):
        return [p for p in self.processes() if "ENVCTL_SERVICE" in p.environ()]

    def gone(self, timeout=30):
        """Waits until nothing of this world runs or listens any more."""
        wait_for(lambda: not self.processes(), lambda: f"these to end: {self.processes()}", timeout)
        wait_for(lambda: not self.used_ports(), lambda: f"these ports to be free: {self.used_ports()}", timeout)

    def used_ports(self):
        spared = set()
        for p in [*self.decoys, *self.started]:
            spared |= {link for link in Proc(p.pid).fds().values()}
        return sorted(
            port
            for port, inodes in listening_ports().items()
            if self.port <= port < self.port + 100 and any(f"socket:[{i}]" not in spared for i in inodes)
        )

    def stray_files(self):
        """Files below the runtime root that nothing documents."""
        if not self.runtime.is_dir() or self.runtime.is_symlink():
            return []
        patterns = re.compile("|".join(f"(?:{p})" for p in KEPT + self.allow_left))
        stray = []
        for directory, names, files in os.walk(self.runtime):
            for name in names + files:
                path = os.path.relpath(os.path.join(directory, name), self.runtime)
                if not patterns.fullmatch(path):
                    stray.append(path)
        stray += [str(p.relative_to(self.base)) for p in (self.base / "tmp").iterdir()]
        return sorted(stray)

    def cgroups(self):
        """Control groups that carry this scope's name."""
        scope = self.scope_dir()
        if not scope:
            return []
        found = []
        for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            if os.path.isdir(root):
                for directory, names, _ in os.walk(root):
                    found += [os.path.join(directory, n) for n in names if n.startswith(f"envctl-{scope.name}")]
        return found

    # Ending

    def assert_clean(self):
        """Nothing is left after stop-all."""
        for p in list(self.started):
            check(p.poll() is not None, f"the test left its own process running: {p.args}")
        scope = self.scope_dir()
        if scope:
            self.stop_all()
            equal(list(Path("/var/lib/envctl").glob(f"at-*/{scope.name}")), [], "data where root's is by default")
        self.gone()
        equal(self.stray_files(), [], "stray files")
        equal(self.cgroups(), [], "control groups left")

    def sanitizer_reports(self):
        return "".join(p.read_text(errors="replace")[:6000] for p in sorted(self.base.glob("sanitizer*")))

    def close(self):
        """Ends and removes everything, whatever happened before. Returns what had to be ended by force."""
        with self.spawning:  # threads of the test may still be at work
            self.closed = True
        for p in self.started + self.decoys:
            if p.poll() is None:
                p.kill()
                p.wait()
        self.started, self.decoys = [], []
        ended = end_processes(self.base)
        for undo in reversed(self.endings):
            with contextlib.suppress(Exception):
                undo()
        for path in self.cgroups():
            try:
                for leaf in os.listdir(path):
                    if os.path.isdir(f"{path}/{leaf}"):
                        os.rmdir(f"{path}/{leaf}")
                os.rmdir(path)
            except OSError:
                pass
        if not os.environ.get("ENVCTL_TEST_KEEP"):
            shutil.rmtree(self.base, ignore_errors=True)
        else:
            print(f"# kept {self.base}")
        self.lock.close()
        WORLDS.remove(self)
        return ended


def stranger(w, port, host="127.0.0.1"):
    """Somebody else's server, outside of everything envctl knows."""
    code = (
        "import socket, sys, time\n"
        "s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)\n"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        "s.bind((sys.argv[1], int(sys.argv[2]))); s.listen(); print('up', flush=True); time.sleep(600)"
    )
    p = subprocess.Popen(
        [PYTHON, "-S", "-c", code, host, str(port)],
        env={"PATH": "/usr/bin:/bin"}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )
    w.decoys.append(p)
    equal(p.stdout.readline(), b"up\n", "the stranger")
    return p


# --- running the tests -----------------------------------------------------------------------------------------------

TESTS = []


def test(fn=None, *, timeout=180):
    """Registers a test. It is given a World; `timeout` seconds are for hangs."""

    def register(f):
        TESTS.append((f.__name__, f, timeout))
        return f

    return register(fn) if fn else register


def on_alarm(_number, _frame):
    raise Failed("the whole test took too long")


def on_interrupt(number, _frame):
    """Somebody gives up on us. Everything is ended here and now, wherever the test is: it may have threads that wait for others, and
    finally clauses that wait for them."""
    for n in INTERRUPTS:
        signal.signal(n, signal.SIG_IGN)
    signal.alarm(0)
    for world in WORLDS[:]:
        world.close()
    print(f"# interrupted by {signal.Signals(number).name}", flush=True)
    os._exit(128 + number)


INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_one(name, fn, timeout):
    signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(int(timeout * PATIENCE))
    world = World(name)
    try:
        fn(world)
        signal.alarm(int(120 * PATIENCE))
        if world.check_leaks:
            world.assert_clean()
        report = world.sanitizer_reports()
        check(not report, f"a sanitizer reports:\n{report}")
        return None
    except Skipped as e:
        return e
    except Failed as e:
        trail = [f for f in traceback.extract_tb(e.__traceback__) if f.filename == inspect.getfile(fn)]
        where = f" (line {trail[-1].lineno})" if trail else ""
        return f"{e}{where}" + ("\n" + world.sanitizer_reports() if world.sanitizer_reports() else "")
    except Exception:  # pylint: disable=broad-except
        return traceback.format_exc()
    finally:
        signal.alarm(0)
        world.close()


def main():
    """Runs the registered tests (all, or those named on the command line)."""
    wanted = sys.argv[1:]
    os.umask(0o022)
    passed = failed = skipped = 0
    for n in INTERRUPTS:
        signal.signal(n, on_interrupt)
    for name, fn, timeout in TESTS:
        if wanted and name not in wanted:
            continue
        began = time.monotonic()
        problem = run_one(name, fn, timeout)
        seconds = time.monotonic() - began
        if problem is None:
            passed += 1
            print(f"ok {name} ({seconds:.1f} s)", flush=True)
        elif isinstance(problem, Skipped):
            skipped += 1
            print(f"skip {name}: {problem}", flush=True)
        else:
            failed += 1
            indented = problem.rstrip().replace("\n", "\n    ")
            print(f"FAIL {name} ({seconds:.1f} s): {indented}", flush=True)
    if wanted and passed + failed + skipped != len(wanted):
        failed += 1
        print(f"FAIL: no test of that name among {wanted}")
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed + skipped else 0)
