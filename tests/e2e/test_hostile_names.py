#!/usr/bin/env python3
"""S05: names that look like options, paths, shell code or terminal codes, in every place where a name is taken. Nothing is written
outside of the trees directory, nothing is run but git, and git gets as many arguments as always. ENVCTL_ROUNDS: how many names."""

import os
import random
import re
import shutil

from lib import BIN, PYTHON, SEED, SVC, check, contains, equal, main, rounds, test

KNOWN = [
    "$(touch pwned)", "`touch pwned`", ";touch pwned", "x;touch${IFS}pwned;", "|touch pwned", "&touch pwned&", "\ntouch pwned\n",
    "'$(touch pwned)'", '"$(touch pwned)"', "x'; touch pwned; '", "../pwned", "../../pwned", "/tmp/../pwned", "a/../../b", "a//b",
    "a/./b", ".", "..", "...", ".git", ".git/hooks/x", "-rf", "--", "-", "--upload-pack=touch pwned", "--exec=touch pwned", "-ctouch",
    "--help", "--json", "--force", "--all", "*", "?", "[a]", "{a,b}", "~", "~root", "$HOME", "%s%n", "%00", "a\x1b[31mb", "\u202eabc",
    "a\tb", "a b", " a", "a ", "a.", "a.lock", "a..b", "@{-1}", "@", "HEAD", "refs/heads/main", "^main", "main~1", "x:y", "\\", "a\\..\\b",
    "#", "!", "!!", "=", "a=b", ",", "a,b", "x" * 240, "ä" * 100, "日本", "\u0301", "CON", "nul", "stop-all", "main", "Main", "trees",
]


def hostile_names():
    """The first of the known ones, then the others, and mixtures of them, in a random order."""
    rng, names = random.Random(SEED), KNOWN[10:]
    while len(names) < 190:
        names.append((rng.choice(KNOWN) + rng.choice(["", "-", "/", "x", " "]) + rng.choice(KNOWN))[:200])
    rng.shuffle(names)
    return (KNOWN[:10] + names)[: rounds(25)]


def prepare(w):
    w.write("todo/plans/web/x.md", "# X\n")
    w.write(".envctl", "TREES_STARTUP_ENABLE=false\nMAIN_STARTUP_ENABLE=false\n")
    w.write(".gitignore", ".envctl*\n")
    w.commit()


def files(w):
    """Every file, but for those that may come: git's, the trees, the state, the trace."""
    found = set()
    for directory, names, others in os.walk(w.base):
        here = os.path.relpath(directory, w.base)
        names[:] = [n for n in names if os.path.join(here, n) not in ("./runtime", "./state", "repo/.git", "repo/trees")]
        found |= {os.path.join(here, n) for n in names + others}
    return found


def literals(text):
    """The strings of a line of strace."""
    return [eval(f'b"{s}"').decode(errors="replace") for s in re.findall(r'"((?:[^"\\]|\\.)*)"', text)]  # pylint: disable=eval-used


def run(w, *args):
    """Runs envctl and looks at every program that ran on the way."""
    trace = w.base.with_suffix(".trace")
    result = w.run("strace", "-f", "-qq", "-e", "signal=none", "-e", "trace=execve", "-s", "4096", "-v", "-o", trace, BIN, *args)
    try:
        lines = trace.read_text(errors="replace").splitlines()
    finally:
        trace.unlink()
    for line in lines:
        program, argv = re.match(r'\d+ +execve\(("(?:[^"\\]|\\.)*"), \[(.*?)\], \[', line).groups()
        program, argv = literals(program)[0], literals(argv)
        check(os.path.basename(program) in (os.path.basename(BIN), "git"), f"{args!r} ran {program} {argv}")
        if "worktree" in argv and "add" in argv:
            tail = argv[argv.index("worktree"):]
            # add PATH BRANCH, add --no-track -b BRANCH PATH COMMIT, add --track -b BRANCH PATH REMOTE
            equal(len(tail), 7 if tail[2] in ("--track", "--no-track") else 4, f"{args!r}: arguments of {tail}")
    return result


def nothing_else(w, before, what):
    equal(sorted(files(w) - before), [], f"{what}: files elsewhere")
    found = [d for d, names, others in os.walk(w.base) if "pwned" in names + others]
    equal(found, [], f"{what}: something was run")


def made(w, result, what):
    """What a command says that it made lies where it belongs."""
    if result.rc != 0 or not result.out.startswith("{"):
        return 0
    document = result.json()
    trees = document.get("created", [])
    if document.get("command") == "import":
        trees = [{"root": document["path"], "branch": document["branch"]}] if trees else []
    for tree in trees:
        real = os.path.realpath(tree["root"])
        check(real.startswith(f"{w.repo}/trees/") and os.path.isdir(real), f"{what}: {tree}")
        check(re.fullmatch(r"[^\s\x00-\x1f\x7f~^:?*\[\\;|&$`'\"<>(){}!]+", tree["branch"]), f"{what}: {tree}")
    return len(trees)


@test(timeout=300)
def plans(w):
    prepare(w)
    names = [n for n in hostile_names() if "\0" not in n]
    for n, name in enumerate(names):
        path = w.repo / "todo/plans" / f"g{n}" / (name.replace("/", "\u2215").encode()[:200].decode(errors="ignore") + ".md")
        path.parent.mkdir(parents=True)
        path.write_text("# hostile\n")
    before = files(w)
    for n, path in enumerate(sorted((w.repo / "todo/plans").glob("g*/*"))):
        what = f"plan {path.name!r}"
        made(w, run(w, "--headless", f"--plan={path.relative_to(w.repo / 'todo/plans')}", "--json"), what)
        made(w, run(w, "--headless", f"--plan={names[n]}", "--json"), f"selector {names[n]!r}")
        nothing_else(w, before, what)
    check(len(list((w.repo / "trees").iterdir())) > len(names) * 2 // 3, "most of them are plans like others")


@test(timeout=300)
def features_bases_and_branches(w):
    prepare(w)
    before = files(w)
    for name in hostile_names():
        for args in (
            ["start", "--headless", "--setup-worktree", name, "1"], ["start", "--headless", f"--setup-worktrees={name},1"],
            ["--headless", "--plan", "x", "--count", f"{name}=1"], ["import", name], ["import", "--", name],
        ):
            made(w, run(w, *args, "--json"), f"{args!r}")
            nothing_else(w, before, f"{args!r}")
        made(w, run(w, "--headless", "--plan", "--count", "x=1", f"--base={name}", "--json"), f"base {name!r}")
        nothing_else(w, before, f"base {name!r}")


@test(timeout=300)
def branches_that_git_has(w):
    """git allows a good deal of this in a branch."""
    prepare(w)
    branches = []
    for name in hostile_names() + ["x;touch${IFS}pwned", "`touch${IFS}pwned`", "$(touch${IFS}pwned)", "a'b", 'a"b', "é/ü", "plain"]:
        if w.run("git", "update-ref", f"refs/heads/{name}", "HEAD").rc == 0:
            branches.append(name)
    check(len(branches) > 6, f"{branches}")
    before, count = files(w), 0
    for name in branches:
        count += made(w, run(w, "import", name, "--json"), f"branch {name!r}")
        nothing_else(w, before, f"branch {name!r}")
    equal(w.envctl("list-trees", "--json", rc=0).json()["count"], count, "worktrees")
    check(count >= 1, "what has a plain name is taken")


@test(timeout=300)
def projects_services_and_paths(w):
    prepare(w)
    w.envctl("--headless", "--plan", "x", rc=0)
    before = files(w)
    for name in hostile_names():
        for args in (
            ["delete-worktree", "--", name], ["recover", "--", name], ["logs", f"--project={name}"], ["stop", f"--service={name}"],
            ["start", "--headless", "--trees", f"--project={name}"], ["explain-startup", f"--service={name}"],
            ["show-state", f"--repo={name}"], ["list-trees", "--repo", f"/nowhere/{name}"],
        ):
            result = run(w, *args, "--json")
            check("\x1b" not in result.out + result.err, f"{args!r}: a control code reaches the terminal")
            nothing_else(w, before, f"{args!r}")
        script = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\x1b", "\\27")
        w.write(".envctl.lua", f'return {{ envctl = 1, services = {{ ["{script}"] = {{ command = "true" }} }} }}\n')
        result = run(w, "script", "trust", "--json")
        result = run(w, "start", "--headless", "--json")
        check("\x1b" not in result.out + result.err, f"service {name!r}: a control code reaches the terminal")
        (w.repo / ".envctl.lua").unlink()
        nothing_else(w, before, f"service {name!r}")
    check((w.repo / "trees/web_x/1").is_dir(), "the one that nobody named is there")


@test
def a_repository_below_a_hostile_path(w):
    """The one thing that cannot be refused: where the repository lies."""
    w.allow_left.append(r"engine/repo-[0-9a-f]{12}/.*")
    w.write("backend/README", "x\n")
    w.write("todo/plans/web/x.md", "# X\n")
    w.configure(
        MAIN_FRONTEND_ENABLE=False, TREES_FRONTEND_ENABLE=False, ENVCTL_BACKEND_START_CMD=f"{PYTHON} -S -E {SVC} --port {{port}}",
    )
    w.write(".gitignore", ".envctl\n")
    w.commit()
    for name in ("$(touch pwned)", "`touch pwned`;", "-rf", "a 'b' \"c\"", "a\nb", "日本 ü", "%s%n", "{port}", "${port}", "*", "a=b;c#d"):
        repo = w.base / "other" / name / "repo"
        shutil.copytree(w.repo, repo)
        if "\n" in name:
            error = w.envctl("--headless", "--plan", "x", "--json", cwd=repo, rc=1).json()["error"]
            equal(error["code"], "path_unsafe", f"{name!r}: git cannot have a worktree there")
            continue
        started = w.envctl("--headless", "--plan", "x", "--json", cwd=repo, rc=0).json()["services"]
        equal([s["status"] for s in started], ["ready"], f"{name!r}: its service")
        w.envctl("stop-all", "--json", cwd=repo, rc=0)
        contains(w.envctl("delete-worktree", "web_x-1", "--headless", cwd=repo, rc=0).out, "web_x-1", "removed")
        w.envctl("recover", "web_x-1", cwd=repo, rc=0)
        equal(w.git("-C", str(repo / "trees/web_x/1"), "status", "--porcelain"), "", f"{name!r}: sound")
        found = [d for d, names, others in os.walk(w.base) if "pwned" in names + others]
        equal(found, [], f"{name!r}: something was run")
        shutil.rmtree(w.base / "other")


main()
