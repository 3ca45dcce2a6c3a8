#!/usr/bin/env python3
"""Every JSON document of the reference, beside ours: same exit code, same keys, same types, same values where a value is no accident.

`tests/fixtures/golden/documents.json` holds what the reference printed on three small repositories; `differences.txt` beside it is
the list of what is different here, each line with its reason. A difference that is not on the list fails the test, and so does a
line of the list that no longer applies. Keys that only ours has are welcome: the reference's keys are kept beside them.
"""

import fnmatch
import json
import re
import shutil

from lib import PYTHON, SVC, TOP, check, equal, main, test, wait_for

GOLDEN = TOP / "tests/fixtures/golden"

# What differs from run to run, and wording: only the type is compared.
VOLATILE = re.compile(
    r"(^|\.)(pid|run_id|session_id|generated_at|started_at|created_at|updated_at|timestamp|size_bytes|tail_lines\[\]|"
    r"start_time\w*|process_started_at|repo_scope_id|listener_pids\[\]|path|config_file|base_dir|run_state_path|runtime_root|log_path|"
    r"backup_path|legacy_source_path|cwd|message|failure_message|\w*_file|root|project_roots\.\w+|pointers\.\w+)$"
)
# Ports depend on what else listens on the machine, except where they are configuration.
PORTS = re.compile(r"(^|\.)(ports\.\w+|port|requested_port|actual_port|final|requested|resources\.\w+|assigned|primary)$")
CONFIGURED = re.compile(r"^(effective|config)\.")


def kind(value):
    if isinstance(value, bool):
        return "boolean"
    return {int: "number", float: "number", str: "string", list: "array", dict: "object", type(None): "null"}[type(value)]


def differences(golden, ours, path=""):
    """Yields (path, what) for everything of the golden document that ours has not."""
    if golden is None:
        return  # "none here" has no type to keep
    if ours is None and isinstance(golden, (str, int, float)) and VOLATILE.search(path):
        return
    if kind(golden) != kind(ours):
        yield path, f"{kind(golden)} became {kind(ours)}"
    elif isinstance(golden, dict):
        for key, value in sorted(golden.items()):
            inner = f"{path}.{key}" if path else key
            if key not in ours:
                yield inner, "is missing"
            else:
                yield from differences(value, ours[key], inner)
    elif isinstance(golden, list):
        if golden and not ours:
            yield path, f"{len(golden)} entries became none"
        elif golden and isinstance(golden[0], dict):
            # Lists of objects: by name where they have one, else by position.
            by_name = {o.get("name") or o.get("id") or n: o for n, o in enumerate(ours)}
            for n, item in enumerate(golden):
                name = item.get("name") or item.get("id") or n
                if name not in by_name:
                    yield f"{path}[{name}]", "is missing"
                else:
                    yield from differences(item, by_name[name], f"{path}[]")
        elif not VOLATILE.search(path + "[]") and golden != ours:
            yield path, f"{json.dumps(golden)} became {json.dumps(ours)}"
    elif golden != ours and not VOLATILE.search(path) and (CONFIGURED.search(path) or not PORTS.search(path)):
        yield path, f"{json.dumps(golden)} became {json.dumps(ours)}"


class Differences:
    """The list: `case pattern | path pattern | reason`, both patterns as file names are matched."""

    def __init__(self):
        self.lines, self.used, self.unknown, self.compared = [], set(), [], set()
        text = (GOLDEN / "differences.txt").read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                case, path, reason = (part.strip() for part in line.split("|", 2))
                check(reason, f"differences.txt:{number}: no reason")
                self.lines.append((number, case, path))

    def note(self, case, path, what):
        for number, case_pattern, path_pattern in self.lines:
            if fnmatch.fnmatchcase(case, case_pattern) and fnmatch.fnmatchcase(path.replace("[]", "*"), path_pattern):
                self.used.add(number)
                return
        self.unknown.append(f"{case}: {path or 'the document'}: {what}")

    def compare(self, case, golden, rc, document):
        self.compared.add(case)
        if "rc" in golden and golden["rc"] != rc:
            self.note(case, "$rc", f"exit code {golden['rc']} became {rc}")
        for path, what in differences(golden["document"], document):
            self.note(case, path, what)


def documents():
    return json.loads((GOLDEN / "documents.json").read_text(encoding="utf-8"))


# --- the reference's repositories ---


def backend(w, where):
    w.write(f"{where}/pyproject.toml", '[project]\nname = "fixture-backend"\nversion = "0.1.0"\n')
    w.write(f"{where}/app/__init__.py", "")
    w.write(f"{where}/app/main.py", 'app = "asgi-app-placeholder"\n')


def frontend(w, where):
    w.write(f"{where}/package.json", '{"name": "fixture-frontend", "private": true, "scripts": {"dev": "node server.js"}}\n')
    w.write(f"{where}/server.js", "\n")


def plain(w):
    w.write("README.md", "# plain\n")
    w.commit()


def webapp(w):
    backend(w, "backend")
    frontend(w, "frontend")
    w.commit()


def trees(w):
    for part, plan in (("backend", "checkout"), ("frontend", "cart")):
        w.write(f"todo/plans/{part}/{plan}.md", f"# {plan}\n")
    w.write(".gitignore", "trees/\n.envctl\n")
    webapp(w)
    for tree in ("backend_checkout/1", "backend_checkout/2", "frontend_cart/1"):
        w.git("worktree", "add", "-q", "-b", tree.replace("/", "-"), f"trees/{tree}")


# `.envctl` of the conf-* cases: a managed block and the launch env templates.
SOURCES = ("DATABASE_URL", "REDIS_URL", "N8N_URL", "SUPABASE_URL", "SQLALCHEMY_DATABASE_URL", "ASYNC_DATABASE_URL")
CONFIG = "\n".join(
    [
        "# >>> envctl managed startup config >>>",
        "ENVCTL_DEFAULT_MODE=main",
        "# <<< envctl managed startup config <<<",
        "",
        "# Launch env templates for services started by envctl.",
        "# The two lines are of this file.",
        "",
        "# >>> envctl backend launch env >>>",
        *(f"{name}=${{ENVCTL_SOURCE_{name}}}  # a source" for name in SOURCES),
        "# <<< envctl backend launch env <<<",
        "",
        "# >>> envctl frontend launch env >>>",
        "# VITE_SUPABASE_URL=${ENVCTL_SOURCE_SUPABASE_URL}",
        "# <<< envctl frontend launch env <<<",
        "",
    ]
)

# What the reference was given on standard input; its captures hold the answers only.
PAYLOADS = {
    "bool-strings": {"profiles": {"main": {"backend": "true", "dependencies": {"redis": "false"}}}},
    "dir-abs": {"directories": {"backend": "/etc", "frontend": "../x"}},
    "dir-empty": {"directories": {"backend": ""}},
    "disabled": {"profiles": {"main": {"startup_enabled": False, "backend": False, "frontend": False}}},
    "empty-obj-json": {},
    "mode-bogus": {"default_mode": "sideways"},
    "mode-trees": {"default_mode": "trees"},
    "newline-inject": {"directories": {"backend": "x\nINJECTED=1"}},
    "nodeps": {"profiles": {"main": {"dependencies": {}}}},
    "port-float": {"ports": {"backend": 8000.5}},
    "port-huge": {"ports": {"backend": 99999}},
    "port-str": {"ports": {"backend": "abc"}},
    "preserve": {"ports": {"backend": 8100}},
    "spacing-zero": {"ports": {"spacing": 0}},
    "unknown-keys": {"nonsense": 1, "ports": {"nope": 3}},
    "upper-keys": {"BACKEND_PORT_BASE": "8100", "MAIN_REDIS_ENABLE": "true"},
    "upper-unknown": {"NONSENSE_KEY": "1"},
    "config-write": {"default_mode": "main"},
}


def looked_at(w, listed, fixture, prefix, make):
    """The cases of a fixture that need nothing but the repository."""
    for case, golden in documents().items():
        where, name = case.split("/", 1)
        if where == fixture and name.startswith(prefix):
            make(w)
            result = w.envctl(*golden["argv"], stdin=json.dumps(PAYLOADS.get(name, "")) if name in PAYLOADS else None)
            listed.compare(case, golden, result.rc, result.json())


def remade(build, config=None):
    """A function that gives each case the repository as the reference had it."""

    def make(w):
        (w.repo / ".envctl").unlink(missing_ok=True)
        (w.repo / ".git/info/exclude").unlink(missing_ok=True)
        if not (w.repo / ".git/refs/heads/main").exists():
            build(w)
        if config:
            w.write(".envctl", config)

    return make


def finish(listed, patterns):
    """What the tests share: nothing unknown. `patterns` are the cases this test stands for."""
    check(not listed.unknown, "not on the list of differences:\n" + "\n".join(listed.unknown))
    wanted = {c for c in documents() if any(fnmatch.fnmatchcase(c, p) for p in patterns)}
    equal(sorted(wanted - listed.compared), [], "cases that were not compared")
    USED.update(listed.used)
    COMPARED.update(listed.compared)


USED, COMPARED = set(), set()


@test
def plain_repository(w):
    listed = Differences()
    looked_at(w, listed, "plain", "noconf-", remade(plain))
    looked_at(w, listed, "config", "", remade(plain))
    looked_at(w, listed, "prompts", "", remade(plain))
    finish(listed, ["plain/*", "config/*", "prompts/*"])


@test
def web_application(w):
    listed = Differences()
    looked_at(w, listed, "webapp", "conf-", remade(webapp, CONFIG))
    looked_at(w, listed, "webapp", "config-write", remade(webapp))
    finish(listed, ["webapp/conf*"])


@test
def worktrees(w):
    listed = Differences()
    looked_at(w, listed, "trees", "noconf-", remade(trees))
    looked_at(w, listed, "trees", "conf-", remade(trees, CONFIG))
    looked_at(w, listed, "trees", "config-write", remade(trees))
    finish(listed, ["trees/*"])


@test
def outside_of_a_repository(w):
    listed = Differences()
    shutil.rmtree(w.repo / ".git")
    looked_at(w, listed, "errors", "nogit-", lambda _: None)
    finish(listed, ["errors/*"])


@test
def while_it_runs(w):
    listed, all_of_them = Differences(), documents()
    # The reference's ports become ours, in values and in keys.
    for case, golden in all_of_them.items():
        text = json.dumps(golden).replace("8000", str(w.port)).replace("9000", str(w.port + 10))
        all_of_them[case] = json.loads(text)

    def look(*names):
        for name in names:
            golden = all_of_them[f"webapp/{name}"]
            result = w.envctl(*golden["argv"])
            listed.compare(f"webapp/{name}", golden, result.rc, result.json())

    w.services(backend="", frontend="")
    w.start()
    for name in ("run_state", "runtime_map", "ports_manifest", "error_report"):
        document = json.loads((w.scope_dir() / f"{name}.json").read_text(encoding="utf-8"))
        listed.compare(f"webapp/start-artifacts/{name}", all_of_them[f"webapp/start-artifacts/{name}"], 0, document)
    look("run-show-state-json", "run-health-json", "run-errors-json", "run-logs-json", "run-list-targets-json", "run-explain-json",
         "run-explain-start-json", "explain-fast", "handfixed-explain", "run-doctor-json", "run-doctor2-json")
    w.envctl("clear-logs", "--all", rc=0)
    look("clear-logs-after")
    w.envctl("restart", "--service", "Main Backend", rc=0)
    look("restart-state")
    w.envctl("stop", "--service", "Main Backend", rc=0)
    look("stop-service-state")
    w.stop_all()
    w.configure(MAIN_BACKEND_ENABLE=False, MAIN_FRONTEND_ENABLE=False, MAIN_REDIS_ENABLE=True, ENVCTL_REQUIREMENT_REDIS_CMD="false",
                ENVCTL_DATA_DIR=w.base / "data")
    w.start(rc=1)
    look("json-disabled-state")
    w.configure(MAIN_FRONTEND_ENABLE=False, ENVCTL_BACKEND_START_CMD=f"{PYTHON} {SVC} --exit 3")
    w.start(rc=1)
    look("crash-state", "crash-doctor-json")
    w.services(backend="", frontend="")
    w.start()
    look("cor-state")
    w.stop_all()
    w.state_file().write_text("{", encoding="utf-8")
    look("cor2-state", "cor2-doctor")
    w.state_file().unlink()
    finish(listed, ["webapp/run-*", "webapp/start-*", "webapp/cor*", "webapp/crash-*", "webapp/stop-*", "webapp/c*-after"])


# Captures of `test`, which is not there yet; nothing here produces what they hold.
NOT_YET = ("webapp/test-state", "webapp/test-artifacts/*")


@test
def nothing_was_left_out(_w):
    """Every document was compared, and every line of the list was needed. It sums up the tests before it."""
    left = [c for c in documents() if c not in COMPARED and not any(fnmatch.fnmatchcase(c, p) for p in NOT_YET)]
    equal(left, [], "documents that no test compared")
    equal([f"differences.txt:{n}: {case} | {path}" for n, case, path in Differences().lines if n not in USED], [], "lines without a use")


main()
