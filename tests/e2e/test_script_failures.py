"""Whatever is wrong with a script: what looks, stops or explains itself works all the same, and --bundled leaves scripts out."""

import hashlib
import os

from lib import check, contains, equal, main, test

GOOD = "return { envctl = 1, on = { before_stop = function(ev, host) host.write('asked.txt', 'yes') end } }\n"
# What a script can do wrong, and what a start says about it (None: it is not in the way of a start).
FAILURES = {
    "syntax error": ("return {", "unexpected symbol near <eof>"),
    "throws at load": ("local x = nil\nreturn { envctl = 1, services = x.y }", ".envctl.lua:2: attempt to index a nil value"),
    "throws in a point": (
        "return { envctl = 1, override = { ['plan.ports'] = function() error('not today') end,\n"
        " ['doctor.checks'] = function() error('no checks') end } }",
        'override["plan.ports"]: not today',
    ),
    "throws in a hook": (
        "return { envctl = 1, on = { before_start = function() error('no') end, before_stop = function() error('no') end } }",
        ".envctl.lua:1: on.before_start: no",
    ),
    "loops": ("while true do end", ".envctl.lua:1: ran for"),
    "loops in a point": (
        "return { envctl = 1, override = { ['plan.ports'] = function() while true do end end,\n"
        " ['doctor.checks'] = function() while true do end end } }",
        ".envctl.lua:1: override[\"plan.ports\"]: ran for",
    ),
    "eats memory": ("local t = {}\nwhile true do t[#t + 1] = ('x'):rep(1000) .. #t end", ".envctl.lua:2: "),
    "ends its process": ("return ('a'):rep(300000):find(('a?'):rep(10) .. ('b'):rep(10))", "ran for"),
    "exits": ("os.exit(0)", "os is not there for scripts"),
    "says nothing": ("local x = 1", "returns nothing"),
    "not valid UTF-8": (b"return { envctl = 1, services = { a = { command = '\xff\xfe' } } }", "is not valid UTF-8"),
    "compiled code": (b"\x1bLua\x54\x00\x19\x93\r\n\x1a\n", "is compiled code"),
    "wrong shape": ("return { envctl = 1, services = { api = { port = '80a' } } }", "services.api.port: expected an integer"),
    "not trusted": (GOOD, "is not trusted"),
    "a directory": (None, "is a directory"),
    "a link out of the repository": (None, "is a link that leaves its directory"),
    "a link to nothing": (None, "is a link that leads nowhere"),
    "nobody may read it": (None, "cannot be read"),
    "everybody may write it": (GOOD, "can be changed by everybody"),
    "too large": ("--" + "x" * (1 << 20), "is larger than 1 MiB"),
}
LOOKING = [
    ["logs", "--logs-tail", "2"], ["show-state"], ["show-state", "--json"], ["help"], ["help", "stop"], ["list-commands"],
    ["list-commands", "--json"], ["list-targets"], ["list-targets", "--json"], ["list-trees"], ["show-config"], ["show-config", "--json"],
    ["health", "--json"], ["errors"], ["ports"], ["endpoints"], ["--version"], ["script", "points"],
]


def put(w, name, text):
    path = w.repo / ".envctl.lua"
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    elif os.path.lexists(path):
        path.unlink()
    w.env.pop("ENVCTL_TRUST", None)
    if name == "a directory":
        path.mkdir()
    elif name == "a link out of the repository":
        (w.base / "elsewhere.lua").write_text(GOOD)
        path.symlink_to(w.base / "elsewhere.lua")
    elif name == "a link to nothing":
        path.symlink_to("nowhere.lua")
    else:
        data = text.encode() if isinstance(text, str) else text if text is not None else GOOD.encode()
        path.write_bytes(data)
        path.chmod({"nobody may read it": 0, "everybody may write it": 0o666}.get(name, 0o644))
        if name != "not trusted":
            # Trusted, so that nothing is left out for another reason.
            w.env["ENVCTL_TRUST"] = hashlib.sha256(data).hexdigest()


@test(timeout=900)
def no_script_stands_in_the_way(w):
    w.services(backend="")
    for name, (text, message) in FAILURES.items():
        if name == "nobody may read it" and os.geteuid() == 0:
            continue  # root may
        put(w, name, text)
        result = w.envctl("start", "--headless", rc=1)
        contains(result.err, message, f"{name}: start")
        check("traceback" not in result.err.lower(), f"{name}: {result.err}")
        equal(w.service_processes(), [], f"{name}: nothing was started")
        w.envctl("start", "--headless", "--bundled", rc=0)
        equal(len(w.service_processes()), 1, f"{name}: --bundled starts")
        for args in LOOKING:
            result = w.envctl(*args, rc=0)
            check("traceback" not in result.err.lower(), f"{name}: {args}: {result.err}")
        found = w.envctl("doctor", "--repo", w.repo, "--json", rc=0).json()
        equal(found["ok"], True, f"{name}: doctor")
        scripts = [c for c in found["checks"] if c["id"] == "scripts"]
        check("hook" in name or scripts[-1]["status"] == "warn", f"{name}: doctor says {scripts}")
        w.envctl("stop", rc=0)
        equal(w.service_processes(), [], f"{name}: stopped")
        w.envctl("start", "--headless", rc=0, env={"ENVCTL_BUNDLED": "1"})
        w.envctl("stop-all", rc=0)
        equal(w.service_processes(), [], f"{name}: stopped all")
    check(not (w.repo / "asked.txt").exists(), "no hook of an untrusted script was run")


@test
def a_good_one_is_asked(w):
    """The counterpart: the same commands do use a script that works."""
    w.services(backend="")
    put(w, "good", GOOD)
    w.start()
    w.envctl("stop", rc=0)
    equal((w.repo / "asked.txt").read_text(), "yes", "the hook")


main()
