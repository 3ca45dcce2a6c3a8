#!/usr/bin/env python3
"""From plan files to running worktrees: what is made, what it is called, what stays the same, and what never happens."""

import os
import re
import shutil
import signal
import subprocess
import urllib.request

from lib import BIN, Proc, Skipped, check, contains, equal, main, test, wait_for
from terminal import on_terminal


def prepare(w, startup=True, **options):
    w.services(backend="", TREES_FRONTEND_ENABLE=False, TREES_STARTUP_ENABLE=startup, **options)
    for name in ("web/checkout", "web/cart", "api/login"):
        w.write(f"todo/plans/{name}.md", f"# {name}\n\nBuild it.\n")
    w.write(".gitignore", ".envctl\n.env\nnode_modules/\n")
    w.git("rm", "-q", "--cached", ".envctl")
    w.commit()


def snapshot(w):
    """Everything below the repository and the runtime root, with times of what envctl could write."""
    found = {}
    for top in (w.repo, w.runtime):
        for directory, names, files in os.walk(top):
            for name in names + files:
                path = os.path.join(directory, name)
                s = os.lstat(path)
                found[path] = (s.st_mode, s.st_size, s.st_mtime_ns)
    return found


def trees(w):
    return {p["name"]: p for p in w.envctl("list-trees", "--json", rc=0).json()["projects"]}


def services(document):
    return {s["name"]: s["port"] for s in document["services"]}


@test
def plan_to_running_worktrees(w):
    prepare(w)
    w.write(".worktreeinclude", ".env\n")
    w.write(".env", "TOKEN=1\n", 0o600)
    before = snapshot(w)
    shown = w.envctl("explain-startup", "--plan", "checkout,cart", "--json", rc=0).json()
    dry = w.envctl("--plan", "checkout,cart", "--dry-run", "--json", rc=0).json()
    equal(dry["plan"]["digest"], shown["plan"]["digest"], "a dry run is the explanation")
    equal(
        [(p["name"], p["worktree"]) for p in shown["plan"]["projects"]],
        [
            ("web_cart-1", {"action": "create", "base": "main", "branch": "web_cart-1"}),
            ("web_checkout-1", {"action": "create", "base": "main", "branch": "web_checkout-1"}),
        ],
        "what would be made",
    )
    equal(snapshot(w), before, "looking changes nothing")

    done = w.envctl("--headless", "--plan", "checkout,cart", "--json", rc=0).json()
    equal(done["plan_digest"], shown["plan"]["digest"], "what was previewed is what was done")
    equal([c["project"] for c in done["created"]], ["web_checkout-1", "web_cart-1"], "created")
    equal(sorted(services(done)), ["web_cart-1 Backend", "web_checkout-1 Backend"], "services")
    for s in done["services"]:
        with urllib.request.urlopen(s["url"], timeout=30) as answer:
            equal(answer.status, 200, s["name"])
    tree = w.repo / "trees/web_checkout/1"
    equal((tree / "MAIN_TASK.md").read_text(), "# web/checkout\n\nBuild it.\n", "the task")
    equal((tree / ".env").read_text(), "TOKEN=1\n", "included")
    equal((tree / ".env").stat().st_mode & 0o777, 0o600, "its mode")
    equal(w.git("-C", str(tree), "status", "--porcelain"), "", "git status in the tree")
    check("trees" not in w.git("status", "--porcelain"), "git status of main")
    equal(w.git("-C", str(tree), "rev-parse", "--abbrev-ref", "HEAD").strip(), "web_checkout-1", "branch")
    listed = trees(w)
    equal((listed["web_cart-1"]["running"], listed["web_cart-1"]["branch"]), (True, "web_cart-1"), "listed")
    check(listed["web_cart-1"]["last_activity"] and listed["web_cart-1"]["urls"]["backend"], "activity and url")

    # Once more: nothing is made, nothing is restarted.
    again = w.envctl("--headless", "--plan", "checkout,cart", "--json", rc=0).json()
    equal((again["created"], again["started"]), ([], 0), "at least one is there")
    equal(services(again), services(done), "ports")
    # Seeded files that nobody edited are nothing to lose.
    w.envctl("delete-worktree", "web_cart-1", "--headless", rc=0)
    check("web_cart-1" not in w.git("branch", "--list", "web_cart-1"), "a branch without work goes")
    held = w.envctl("ports", "--json", rc=0).json()["ports"]
    equal({p["project"] for p in held}, {"web_checkout-1"}, "ports are freed")
    (tree / ".env").write_text("TOKEN=2\n")
    equal(w.envctl("delete-worktree", "web_checkout-1", "--json", rc=1).json()["error"]["reasons"],
          [{"count": 1, "reason": "ignored", "sample": [".env"]}], "an edited one is")
    equal(w.state()["state"]["services"]["web_checkout-1 Backend"]["live"], True, "a refusal stops nothing")


@test
def ports_are_stable_in_any_order(w):
    prepare(w)
    w.envctl("--headless", "--plan", "--count", "checkout=3", "--count", "cart=2", rc=0)
    first = services(w.envctl("--headless", "--plan", "checkout,cart", "--json", rc=0).json())
    equal((len(first), len(set(first.values()))), (5, 5), "five, each with a port of its own")
    w.stop_all()
    for name in sorted(first, reverse=True):
        w.start("--trees", "--project", name.split()[0])
    equal({n: s["actual_port"] for n, s in w.saved_state()["services"].items()}, first, "started one by one, backwards")
    w.stop_all()
    w.envctl("delete-worktree", "web_cart-1", "--headless", rc=0)
    done = services(w.envctl("--headless", "--trees", "--all", "--json", rc=0).json())
    equal(done, {n: p for n, p in first.items() if n != "web_cart-1 Backend"}, "one less")


@test
def one_that_fails_leaves_the_others_up(w):
    prepare(w)
    w.envctl("--headless", "--plan", "checkout,cart,login", rc=0)
    w.stop_all()
    (w.repo / "trees/web_cart/1/FAIL").write_text("")
    text = (w.repo / ".envctl").read_text()
    command = text.split("ENVCTL_BACKEND_START_CMD=", 1)[1].split("\n", 1)[0]
    w.write(".envctl", text.replace(command, f"/bin/sh -c 'test ! -e ../FAIL && exec {command}'"))
    result = w.envctl("--headless", "--plan", "checkout,cart,login", "--json", rc=1)
    error = result.json()["error"]
    equal((error["code"], error["where"]), ("service_exited", "web_cart-1/backend"), "what failed")
    live = {n: s["live"] for n, s in w.state()["state"]["services"].items()}
    equal({n for n, up in live.items() if up}, {"api_login-1 Backend", "web_checkout-1 Backend"}, "the others are up")
    result = w.envctl("--headless", "--plan", "checkout,cart,login", rc=1)
    check("web_cart-1" in result.err.splitlines()[-1] or "web_cart-1" in result.err, "the failure is named")


@test
def counts(w):
    prepare(w, startup=False)
    w.envctl("--headless", "--plan", "checkout,checkout", rc=0)
    equal(sorted(trees(w)), ["web_checkout-1", "web_checkout-2"], "named twice: two")
    w.envctl("--headless", "--plan", "checkout", rc=0)
    equal(sorted(trees(w)), ["web_checkout-1", "web_checkout-2"], "naming it once takes none away")
    (w.repo / "trees/web_checkout/2/mine").write_text("x")
    # A worktree with a similar name belongs to nobody's count.
    w.git("worktree", "add", "-q", "-b", "spike", "trees/web_checkout-spike/1")
    before = snapshot(w)
    shown = w.envctl("--headless", "--plan", "--count", "checkout=1", "--dry-run", "--json", rc=0).json()
    equal(shown["selection"]["remove"], ["web_checkout-2"], "what would go")
    equal([b["code"] for b in shown["blockers"]], ["worktree_dirty"], "and why it will not")
    told = w.envctl("--headless", "--plan", "cart", "--count", "checkout=1", "--dry-run", "--force", rc=0).out
    contains(told, "removes: worktree web_checkout-2, to the trash\n"
                   "makes: worktree web_cart-1 for web/cart.md, on branch web_cart-1 from main\n", "said to people")
    equal(snapshot(w), before, "a dry run changes nothing")
    error = w.envctl("--headless", "--plan", "--count", "checkout=1", "--json", rc=1).json()["error"]
    equal((error["code"], error["reasons"][0]["reason"]), ("worktree_dirty", "untracked"), "refused")
    check((w.repo / "trees/web_checkout/2/mine").exists(), "and kept")
    done = w.envctl("--headless", "--plan", "--count", "checkout.md=1", "--force", "--json", rc=0).json()
    equal([r["project"] for r in done["removed"]], ["web_checkout-2"], "removed")
    w.envctl("recover", "web_checkout-2", rc=0)
    equal((w.repo / "trees/web_checkout/2/mine").read_text(), "x", "and back")
    (w.repo / "trees/web_checkout/2/mine").unlink()
    w.envctl("--headless", "--plan", "--count", "web/checkout=0", "--keep-plan", rc=0)
    check((w.repo / "todo/plans/web/checkout.md").exists(), "--keep-plan")
    w.envctl("--headless", "--plan", "checkout", rc=0)
    for options, moves in (([], True), (["--keep-plan"], False)):
        told = w.envctl("--headless", "--plan", "--count", "checkout=0", "--dry-run", *options, rc=0).out
        equal("moves: web/checkout.md to done\n" in told, moves, f"what a dry run says of the plan, {options}")
    w.envctl("--headless", "--plan", "--count", "web/checkout=0", rc=0)
    check(not (w.repo / "todo/plans/web/checkout.md").exists(), "archived")
    equal((w.repo / "todo/done/web/checkout.md").read_text(), "# web/checkout\n\nBuild it.\n", "in done")
    equal(sorted(trees(w)), ["web_checkout-spike-1"], "the other one is untouched")


@test
def a_list_for_people(w):
    """On a terminal it says what is unusual about each worktree; whoever reads names gets names."""
    prepare(w)
    w.envctl("--headless", "--plan", "checkout,checkout,cart", "--no-resume", rc=0)
    w.envctl("stop", "--project", "web_checkout-1", rc=0)
    w.git("worktree", "lock", "trees/web_checkout/1")
    w.git("-C", "trees/web_checkout/2", "switch", "-q", "-c", "other")
    w.git("branch", "-q", "-u", "main", "web_cart-1")
    w.git("-C", "trees/web_cart/1", "commit", "-q", "--allow-empty", "-m", "more")
    (w.repo / "trees/web_cart/1/mine").write_text("x")
    equal(w.envctl("list-trees", rc=0).out, "web_cart-1\nweb_checkout-1\nweb_checkout-2\n", "to a program")
    t = on_terminal(w, BIN, "list-trees", columns=140)
    equal(t.exit_code(), 0, "exit code")
    rows = [re.split("  +", re.sub(r"\d+ (s|min) ago", "AGE", line.rstrip())) for line in t.screen().splitlines() if line.startswith("web")]
    t.close()
    url = {name: s["url"] for name, s in w.saved_state()["services"].items()}
    equal(rows, [
        ["web_cart-1", "running", "dirty", "1 ahead", "AGE", url["web_cart-1 Backend"]],
        ["web_checkout-1", "stopped", "locked clean", "AGE"],
        ["web_checkout-2", "running", "clean", "other", "AGE", url["web_checkout-2 Backend"]],
    ], "to people")

    # Of several that may not go each is named, and so is the way to what is of the other mode.
    message = w.envctl("delete-worktree", "web_cart-1", "web_checkout-1", "--json", rc=1).error()["message"]
    equal(message, "web_cart-1 has work that would be lost: 1 untracked: mine; web_checkout-1 is locked", "both")
    for words, hint in (
        (["start", "--project", "web_cart-1"], "web_cart-1 is a worktree: add --trees"),
        (["resume", "web_cart-1"], "web_cart-1 is a worktree: add --trees"),
        (["start", "--trees", "--project", "Main"], "Main is the main working tree: add --main"),
        (["start", "--project", "nope"], "known: Main; a service is named with --service"),
    ):
        equal(w.envctl(*words, "--headless", "--json", rc=1).error()["hint"], hint, f"hint of {words}")


@test
def selectors(w):
    prepare(w, startup=False)
    w.write("todo/plans/api/cart.md", "# other\n")
    w.write("todo/plans/a-b/c.md", "x\n")
    w.write("todo/plans/a/b_c.md", "x\n")
    for selector, project in (
        ("web/checkout.md", "web_checkout-1"), ("./todo/plans/web/checkout", "web_checkout-1"), ("CHECKOUT", "web_checkout-1"),
        (str(w.repo / "todo/plans/web/cart.md"), "web_cart-1"), ("web\\cart", "web_cart-1"), (" api/login , ", "api_login-1"),
    ):
        shown = w.envctl("explain-startup", "--plan", selector, "--json", rc=0).json()
        equal([c["project"] for c in shown["selection"]["create"]], [project], selector)
    for selector, code in (
        ("cart", "plan_ambiguous"), ("nope", "plan_not_found"), ("checkout,nope", "plan_not_found"), ("../x", "plan_not_found"),
        ("a/b_c", "feature_collision"),
    ):
        equal(w.envctl("--headless", "--plan", selector, "--json", rc=1).json()["error"]["code"], code, selector)
    error = w.envctl("--headless", "--plan", "--json", rc=1).json()["error"]
    equal(error["code"], "target_required", "headless needs a selection")
    contains(error["hint"], "--headless --plan <selector>", "and says how")
    equal(trees(w), {}, "nothing was made")
    equal(w.envctl("--headless", "--plan", "checkout", "--base", "nope", "--json", rc=1).json()["error"]["code"], "base_unknown", "base")
    w.git("tag", "v1")
    w.write("later", "x")
    w.commit()
    w.envctl("--headless", "--plan", "checkout", "--base", "v1", rc=0)
    check(not (w.repo / "trees/web_checkout/1/later").exists(), "--base")


@test
def odd_names(w):
    prepare(w, startup=False)
    plans = {
        "web/stop-all": "web_stop_all-1", "spaces in/a name": "spaces_in_a_name-1", "Ünï/çödé": None, "日本/語": None,
        "web/" + "x" * 200: None, "web/-rf": "web_rf-1", "web/$(touch pwned)`id`;x": None, "web/a'b\"c": "web_a_b_c-1",
    }
    for name in plans:
        w.write(f"todo/plans/{name}.md", "# odd\n")
    w.commit()
    for name, wanted in plans.items():
        done = w.envctl("--headless", f"--plan={name}.md", "--json", rc=0).json()
        project = done["created"][0]["project"]
        check(wanted in (None, project), f"{name}: {project}")
        check(len(project) <= 68 and project.isascii(), project)
        root = os.path.realpath(done["created"][0]["root"])
        check(root.startswith(str(w.repo / "trees") + "/"), root)
        w.envctl("delete-worktree", project, "--headless", rc=0)
    for name in ("..", "../out", "a/b", "-x", "a b", "x" * 201, "a..b", "x.lock", ".git", "a~1", "$(id)", "ä\nb", "@{u}"):
        r = w.envctl("start", "--headless", f"--setup-worktree={name},1", "--json")
        equal(r.rc, 1, name)
        check(r.json()["error"]["code"] in ("worktree_name_invalid", "invalid_value", "missing_value"), str(r))
    w.envctl("start", "--headless", "--setup-worktree", "Feature-É", "3", rc=0)
    equal(sorted(trees(w)), ["Feature-É-3"], "a feature name is taken as it is")
    equal({p.name for p in w.base.iterdir()} - {"runtime"}, {"config", "home", "repo", "state", "tmp"}, "nothing elsewhere")
    check(not (w.repo / "pwned").exists(), "nothing was run")


@test
def links_are_not_followed(w):
    prepare(w, startup=False)
    outside = w.base / "outside"
    outside.mkdir()
    (w.repo / "trees").symlink_to(outside)
    equal(w.envctl("--headless", "--plan", "checkout", "--json", rc=1).json()["error"]["code"], "path_unsafe", "trees")
    (w.repo / "trees").unlink()
    (w.repo / "trees").mkdir()
    (w.repo / "trees/web_checkout").symlink_to(outside)
    equal(w.envctl("--headless", "--plan", "checkout", "--json", rc=1).json()["error"]["code"], "path_unsafe", "feature")
    equal(list(outside.iterdir()), [], "nothing outside")
    equal(w.git("branch", "--list", "web_*"), "", "no branch is left")


@test
def planted_programs_do_not_run(w):
    prepare(w, startup=False)
    w.write(".gitattributes", "*.txt filter=evil diff=evil\n")
    w.write("a.txt", "one\n")
    w.commit()
    marks = w.base / "marks"
    marks.mkdir()

    def plant(name):
        path = w.repo / f".git/evil-{name}"
        path.write_text(f"#!/bin/sh\ntouch {marks}/{name}\ncat\n")
        path.chmod(0o755)
        return str(path)

    for hook in ("post-checkout", "pre-commit", "post-index-change", "reference-transaction", "fsmonitor-watchman"):
        path = w.repo / ".git/hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch {marks}/{hook}\n")
        path.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "diff.external", "diff.evil.textconv",
                "filter.evil.clean", "gpg.program", "credential.helper", "sequence.editor"):
        w.git("config", key, plant(key))
    for name in ("git", "sh"):
        (w.repo / name).write_text(f"#!/bin/sh\ntouch {marks}/{name}\n")
        (w.repo / name).chmod(0o755)
    env = {"PATH": f".:{w.repo}:{w.env['PATH']}", "GIT_DIR": "/nowhere", "GIT_EXTERNAL_DIFF": plant("env")}
    for path in marks.iterdir():
        path.unlink()  # git itself ran some while we planted
    w.envctl("--headless", "--plan", "checkout,cart", rc=0, env=env)
    tree = w.repo / "trees/web_checkout/1"
    (tree / "a.txt").write_text("two\n")
    os.utime(tree / "a.txt")
    for command in (
        "list-trees", "list-trees --status", "list-targets --trees", "list-commands", "explain-startup", "explain-startup --plan login",
        "show-config", "show-state", "endpoints", "ports", "health", "errors", "logs --all", "doctor --repo", "recover", "gc --dry-run",
        "delete-worktree web_checkout-1 --dry-run",
    ):
        w.envctl(*command.split(), "--json", env=env)
        equal(sorted(p.name for p in marks.iterdir()), [], f"what {command} ran")
    equal(w.envctl("delete-worktree", "web_checkout-1", "--json", rc=1, env=env).json()["error"]["code"], "worktree_dirty", "code")
    w.envctl("delete-worktree", "web_checkout-1", "--force", "--headless", rc=0, env=env)
    w.envctl("recover", "web_checkout-1", rc=0, env=env)
    w.envctl("delete-worktree", "web_cart-1", "--headless", rc=0, env=env)
    w.git("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "branch", "old")
    w.envctl("import", "old", rc=0, env=env)
    equal(sorted(p.name for p in marks.iterdir()), [], "what ran")


@test
def locks_of_git_are_named_and_left_alone(w):
    prepare(w, startup=False)
    lock = w.repo / ".git/refs/heads/web_checkout-1.lock"
    lock.write_text("")
    result = w.envctl("--headless", "--plan", "checkout", "--json", rc=1)
    error = result.json()["error"]
    contains(error["message"] + str(error["where"]) + error["hint"], str(lock), "the lock is named")
    check(lock.exists(), "and kept")
    check(not (w.repo / "trees/web_checkout").exists(), "no half tree")
    lock.unlink()
    main_lock = w.repo / ".git/index.lock"
    main_lock.write_text("")
    w.envctl("--headless", "--plan", "checkout", rc=0)
    check(main_lock.exists(), "main's index.lock is nobody's business")
    main_lock.unlink()
    packed = w.repo / ".git/packed-refs.lock"
    packed.write_text("")
    w.envctl("delete-worktree", "web_checkout-1", "--headless", rc=0)
    check(packed.exists(), "kept")
    packed.unlink()
    w.envctl("recover", "web_checkout-1", rc=0)
    equal(w.git("-C", "trees/web_checkout/1", "status", "--porcelain"), "", "clean")


@test
def a_repository_of_another_user(w):
    if os.geteuid() != 0:
        raise Skipped("only root can give a directory away")
    prepare(w, startup=False)
    os.chown(w.repo, 65534, 65534)
    os.chown(w.repo / ".git", 65534, 65534)
    equal(trees(w), {}, "looking needs no git")
    error = w.envctl("--headless", "--plan", "checkout", "--json", rc=1).json()["error"]
    contains(error["message"], f"dubious ownership in repository at '{w.repo}'", "what is wrong")
    contains(error["hint"], f"safe.directory {w.repo}", "and what to do")
    check(not (w.repo / "trees/web_checkout").exists(), "no half tree")
    for path in (w.repo, w.repo / ".git"):
        os.chown(path, 0, 0)
    w.envctl("--headless", "--plan", "checkout", rc=0)


@test
def a_bare_repository_inside(w):
    """Somebody else's repository among the files: its configuration is not ours."""
    prepare(w, startup=False)
    inner = w.repo / "vendor/mirror.git"
    subprocess.run(["git", "init", "-q", "--bare", str(inner)], env=w.env, check=True)
    for command in (["list-trees"], ["explain-startup"], ["--headless", "--plan", "checkout"], ["stop-all"]):
        error = w.envctl(*command, "--json", cwd=inner, rc=1).json()["error"]
        equal(error["code"], "not_a_repository", command[0])
        contains(error["message"], str(inner), "named")
    equal(sorted(p.name for p in inner.iterdir()), sorted(["HEAD", "branches", "config", "description", "hooks", "info", "objects",
                                                           "refs"]), "nothing of ours in it")
    w.envctl("--headless", "--plan", "checkout", cwd=w.repo / "vendor", rc=0)


@test
def a_list_costs_the_same_for_each_worktree(w):
    """R33, without a clock: no program is run for it, and twice the worktrees are at most twice the system calls."""
    prepare(w, startup=False)
    trace = w.base / "trace"

    def calls(count):
        w.envctl("--headless", "--plan", "--count", f"checkout={count}", rc=0)
        w.run("strace", "-f", "-qq", "-o", str(trace), BIN, "list-trees", "--json", rc=0)
        lines = trace.read_text(errors="replace").splitlines()
        trace.unlink()
        equal(sum("execve(" in line for line in lines), 1, "programs")
        return len(lines)

    few, some, many = calls(1), calls(11), calls(21)
    check(many - some <= 1.1 * (some - few), f"system calls for 1, 11 and 21: {few}, {some}, {many}")


@test
def another_git_makes_a_worktree_at_the_same_time(w):
    """git gives up when it reads the entry of a worktree that another git is just writing; that is over in a moment."""
    prepare(w, startup=False)
    real, left = shutil.which("git"), w.base / "failures"
    w.write("../fake/git", f"""#!/bin/sh
case " $* " in *" worktree add "*)
  n=$(cat {left})
  if [ "$n" -gt 0 ]; then
    echo $((n - 1)) > {left}
    echo 'Preparing worktree (new branch)' >&2
    echo 'fatal: failed to read .git/worktrees/1/commondir: Success' >&2
    exit 128
  fi ;;
esac
exec {real} "$@"
""", 0o755)
    env = {"PATH": f"{w.base}/fake:{w.env['PATH']}"}
    left.write_text("2")
    w.envctl("--headless", "--plan", "checkout,cart", env=env, rc=0)
    equal((left.read_text().strip(), sorted(trees(w))), ("0", ["web_cart-1", "web_checkout-1"]), "tried again")
    left.write_text("1000")
    failed = w.envctl("--headless", "--plan", "login", "--json", env=env, rc=1).json()["error"]
    contains(failed["message"], "cannot make worktree api_login-1: failed to read", "when it lasts, git is quoted")
    check(990 < int(left.read_text()) < 1000, "and not tried for ever")
    check("api_login-1" not in w.git("branch", "--list", "api_login-1"), "nothing is left of it")


@test
def a_directory_that_is_gone(w):
    prepare(w, startup=False)
    w.envctl("--headless", "--plan", "checkout,cart", rc=0)
    subprocess.run(["rm", "-r", str(w.repo / "trees/web_checkout")], check=True)
    # Another missing one, which somebody else made, is left alone.
    w.git("worktree", "add", "-q", str(w.base / "stick"))
    subprocess.run(["rm", "-r", str(w.base / "stick")], check=True)
    w.envctl("--headless", "--plan", "checkout", rc=0)
    equal(sorted(trees(w)), ["stick", "web_cart-1", "web_checkout-1", "web_checkout-2"], "a new one beside it")
    w.envctl("delete-worktree", "web_checkout-1", "--headless", rc=0)
    equal(sorted(trees(w)), ["stick", "web_cart-1", "web_checkout-2"], "only its own entry went")


@test
def a_running_worktree_whose_directory_is_gone(w):
    prepare(w)
    w.envctl("--headless", "--plan", "checkout,cart", rc=0)
    pids = {n: s["pid"] for n, s in w.saved_state()["services"].items()}
    shutil.rmtree(w.repo / "trees/web_checkout")
    equal(trees(w)["web_checkout-1"]["running"], True, "what runs there is known")
    w.envctl("stop", "--project", "web_checkout-1", rc=0)
    check(Proc.quick(pids["web_checkout-1 Backend"]) is None, "and ends")
    w.envctl("delete-worktree", "web_checkout-1", "--headless", rc=0)
    equal({p["project"] for p in w.envctl("ports", "--json", rc=0).json()["ports"]}, {"web_cart-1"}, "its ports are free")
    equal(w.saved_state()["services"]["web_cart-1 Backend"]["pid"], pids["web_cart-1 Backend"], "the other one runs on")


@test
def both_modes_side_by_side(w):
    prepare(w)
    w.start()
    w.envctl("--headless", "--plan", "checkout", rc=0)
    tree = Proc(w.saved_state()["services"]["web_checkout-1 Backend"]["pid"])
    equal(w.envctl("stop", "--main", rc=0).out, "Stopped 1 service.\n", "not all of it")
    check(tree.alive, "the worktree runs on")
    contains(w.envctl("resume", "--headless", rc=1).err, "envctl resume --trees", "where there is something to resume")
    w.start()
    tree.signal(signal.SIGKILL)
    wait_for(lambda: not tree.alive, "the end")
    said = w.envctl("resume", "--headless", rc=0).err
    contains(said, "web_checkout-1 Backend should run as well: envctl resume --trees", "resume of the other mode")
    said = w.envctl("resume", "--trees", "--headless", rc=0).err
    check("as well" not in said, said)
    w.envctl("stop", "--all", rc=0)


@test
def a_copy_leaves_the_worktrees_of_the_original_alone(w):
    """A copied repository still lists the worktrees of the one it was copied from: nothing is done in them or to them from there."""
    prepare(w, startup=False)
    w.envctl("--headless", "--plan", "checkout", rc=0)
    tree = w.repo / "trees/web_checkout/1"
    work = tree / "work"
    work.write_text("x")
    copy = w.base / "copy"
    subprocess.run(["cp", "-a", str(w.repo), str(copy)], check=True)
    contains(w.git("-C", str(copy), "worktree", "list"), str(tree), "what git says there")
    equal(w.envctl("list-trees", "--json", cwd=copy, rc=0).json()["projects"], [], "projects of the copy")
    for command in ("delete-worktree", "blast-worktree"):
        error = w.envctl(command, "web_checkout-1", "--force", "--yes", "--headless", "--json", cwd=copy, rc=1).error()
        equal(error["code"], "unknown_target", command)
    error = w.envctl("import", "web_checkout-1", "--json", cwd=copy, rc=1).error()
    equal((error["code"], error["where"]), ("branch_in_use", str(tree)), "its branch")
    found = {c["id"]: c for c in w.envctl("doctor", "--json", cwd=copy).json()["checks"]}["worktree_foreign"]
    contains(found["detail"], str(tree), "doctor says so")
    # What doctor says to do, and then the branch is free.
    shutil.rmtree(found["fix"].split()[1].rstrip(","))
    shutil.rmtree(copy / "trees")
    w.envctl("import", "web_checkout-1", "--headless", cwd=copy, rc=0)
    equal((sorted(trees(w)), work.read_text()), (["web_checkout-1"], "x"), "the original")


@test
def no_room_for_a_worktree(w):
    """A file system of its own for the trees: too small, and read-only."""
    if os.geteuid() != 0:
        raise Skipped("only root can mount something")
    prepare(w, startup=False)
    w.write("big", "x" * 300000)
    w.commit()
    (w.repo / "trees").mkdir()
    for options, said in (("size=200k", "unable to write file"), ("ro", "read-only file system")):
        mounted = f'mount -t tmpfs -o {options} none "$1" && shift && exec "$@"'
        failed = w.run("unshare", "--mount", "sh", "-c", mounted, "sh", w.repo / "trees", BIN, "--headless", "--plan", "checkout", "--json")
        equal(failed.rc, 1, f"{options}: {failed}")
        error = failed.error()
        contains(error["message"], "cannot make worktree web_checkout-1: ", options)
        contains(error["message"], said, options)
        check(str(error["where"]).startswith(f"{w.repo}/trees/"), f"{options}: where: {error['where']}")
        equal(len(w.git("worktree", "list").splitlines()), 1, f"{options}: nothing is left of it")
        equal(w.git("branch", "--list", "web_*"), "", f"{options}: nor its branch")


@test
def repositories_of_every_kind(w):
    """Trees in a nested directory with an odd name; submodules; a git directory elsewhere; a bare one with worktrees alone."""
    prepare(w, startup=False, TREES_DIR_NAME="my trees/ü")
    w.run("git", "init", "-q", "--separate-git-dir", w.base / "the git", w.repo, rc=0)
    check((w.repo / ".git").is_file(), "a file in the place of the git directory")
    local = ["-c", "protocol.file.allow=always"]
    w.run("git", "init", "-q", w.base / "sub", rc=0)
    w.git("-C", str(w.base / "sub"), "commit", "-q", "--allow-empty", "-m", "sub")
    w.git(*local, "submodule", "add", "-q", str(w.base / "sub"), "libs/sub")
    w.commit()
    bare, hub = w.base / "bare.git", w.base / "hub"
    w.run("git", "clone", "-q", "--bare", w.repo, bare, rc=0)
    w.run("git", "-C", bare, "worktree", "add", "-q", hub, "main", rc=0)
    shutil.copy(w.repo / ".envctl", hub)
    for top, main_name in ((w.repo, None), (hub, "main")):
        made = w.envctl("--headless", "--plan", "checkout", "--json", cwd=top, rc=0).json()["created"][0]
        check(made["root"].endswith("/my trees/ü/web_checkout/1"), f"{top}: where: {made}")
        listed = w.envctl("list-trees", "--json", cwd=top, rc=0).json()["projects"]
        equal({p["name"] for p in listed}, {"web_checkout-1", main_name} - {None}, f"{top}: listed")
        equal(w.git("-C", str(top), "status", "--porcelain"), "", f"{top}: git status")
        w.envctl("delete-worktree", "web_checkout-1", "--headless", cwd=top, rc=0)
        check(not os.path.exists(made["root"]), f"{top}: removed")
    error = w.envctl("list-trees", "--json", cwd=bare, rc=1).error()
    contains(error["message"], "is a bare repository: it has no files to run", "the bare one itself")


@test
def imports(w):
    prepare(w, startup=False)
    origin = w.base / "origin.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(w.repo), str(origin)], env=w.env, check=True)
    w.git("remote", "add", "origin", str(origin))
    w.git("push", "-q", "origin", "main:feature/remote", "main:behind", "main:diverged")
    w.git("fetch", "-q")
    w.git("branch", "--track", "behind", "origin/behind")
    w.git("branch", "--track", "diverged", "origin/diverged")
    w.git("checkout", "-q", "diverged")
    w.write("ours", "x")
    w.commit()
    w.git("checkout", "-q", "main")
    w.git("checkout", "-q", "--detach")
    w.write("theirs", "x")
    w.commit()
    w.git("push", "-q", "origin", "HEAD:behind", "HEAD:diverged")
    w.git("checkout", "-q", "main")
    w.git("fetch", "-q")
    equal(w.envctl("import", "feature/remote", "--json", rc=0).json()["project"], "feature-remote", "remote branch")
    equal(w.envctl("import", "behind", "--json", rc=0).json()["forwarded"], True, "moved forward")
    check((w.repo / "trees/behind/theirs").exists(), "with the new file")
    error = w.envctl("import", "main", "--json", rc=1).json()["error"]
    equal((error["code"], error["message"]), ("branch_in_use", f"main is checked out in {w.repo}"), "checked out elsewhere")
    before = w.git("rev-parse", "diverged")
    error = w.envctl("import", "diverged", "--json", rc=1).json()["error"]
    equal((error["code"], error["ahead"], error["behind"]), ("branch_diverged", 1, 1), "diverged")
    equal(w.git("rev-parse", "diverged"), before, "nothing is reset")
    w.git("branch", "Behind", "main")
    error = w.envctl("import", "Behind", "--json", rc=1).json()["error"]
    equal((error["code"], error["where"]), ("name_taken", str(w.repo / "trees/behind")), "but for upper case there is one")
    listed = trees(w)
    equal(listed["feature-remote"]["branch"], "feature/remote", "listed")
    equal((listed["behind"]["ahead"], listed["behind"]["behind"]), (0, 0), "distance")
    w.envctl("delete-worktree", "feature/remote", "--headless", rc=0)
    contains(w.git("branch", "--list", "feature/remote"), "feature/remote", "its branch stays")


@test
def distances_are_those_of_git(w):
    """Branches in every relation to an upstream; loose and packed references."""
    w.services(backend="")
    origin = w.base / "origin.git"
    w.run("git", "init", "-q", "--bare", str(origin), rc=0)
    w.git("remote", "add", "origin", str(origin))
    relations = {"none": "", "equal": "", "ahead": "mine", "behind": "theirs", "diverged": "mine theirs", "gone": "", "local": "mine"}
    for name, moves in relations.items():
        w.git("branch", name)
        if name not in ("none", "local"):
            w.git("push", "-q", "-u", "origin", name)
        w.git("worktree", "add", "-q", f"trees/{name}/1", name)
        who = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"]
        if "theirs" in moves:
            w.git("-C", f"trees/{name}/1", *who, "commit", "-q", "--allow-empty", "-m", "theirs")
            w.git("-C", f"trees/{name}/1", "push", "-q", "origin", name)
            w.git("-C", f"trees/{name}/1", "reset", "-q", "--hard", "HEAD~1")
        if "mine" in moves:
            w.git("-C", f"trees/{name}/1", *who, "commit", "-q", "--allow-empty", "-m", "mine")
    w.git("branch", "-q", "--set-upstream-to=main", "local")
    w.git("update-ref", "-d", "refs/remotes/origin/gone")
    wanted = {
        "none": (None, None, "no_upstream"), "equal": (0, 0, None), "ahead": (1, 0, None), "behind": (0, 1, None),
        "diverged": (1, 1, None), "gone": (None, None, "gone"), "local": (1, 0, None),
    }
    for pack in (False, True):
        if pack:
            w.git("pack-refs", "--all")
        found = {p["branch"]: (p["ahead"], p["behind"], p["ahead_reason"]) for p in trees(w).values()}
        equal(found, wanted, f"distances, packed: {pack}")
    listed = trees(w)
    equal([listed[n].get("upstream") for n in ("equal-1", "local-1", "none-1")], ["origin/equal", "refs/heads/main", None], "upstreams")


main()
