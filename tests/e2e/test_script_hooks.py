#!/usr/bin/env python3
"""Hooks of `.envctl.lua` around the making and removing of worktrees: when they are called, with what, and what a failure does."""

import json

from lib import check, contains, equal, main, test

SCRIPT = """return {
  envctl = 1,
  on = {
    ["project.created"] = function(ev, host)
      if ev.project == "app_bad-1" then
        error("no database for " .. ev.project)
      end
      host.write("made.json", host.run { "sh", "-c", "pwd" }.stdout .. ev.feature .. " " .. ev.branch .. " " .. ev.base)
    end,
    ["worktree.removing"] = function(ev, host)
      if host.read("keep") then
        error("it is to be kept")
      end
      host.log("removing " .. ev.project .. " on " .. tostring(ev.branch))
    end,
  },
}
"""


def prepare(w, script=SCRIPT):
    w.services(backend="", TREES_FRONTEND_ENABLE=False, TREES_STARTUP_ENABLE=False)
    w.write(".gitignore", "made.json\nkeep\n.envctl\n")
    for name in ("good", "bad", "other"):
        w.write(f"todo/plans/app/{name}.md", f"# {name}\n")
    w.git("rm", "-q", "--cached", ".envctl")
    w.write(".envctl.lua", script)
    w.commit()


def trees(w):
    return sorted(p["name"] for p in w.envctl("list-trees", "--json", rc=0).json()["projects"])


@test
def made_and_removed(w):
    prepare(w)
    refused = w.envctl("--headless", "--plan", "good", "--json", rc=1).json()["error"]
    equal((refused["code"], trees(w)), ("script_untrusted", []), "untrusted: nothing is made")
    w.git("branch", "taken")
    equal(w.envctl("import", "taken", "--json", rc=1).json()["error"]["code"], "script_untrusted", "nor imported")
    w.envctl("script", "trust", rc=0)
    w.envctl("--headless", "--plan", "good", rc=0)
    root = w.repo / "trees/app_good/1"
    equal((root / "made.json").read_text(), f"{root}\napp_good app_good-1 main", "what the hook was told, and where it ran")

    # One that fails says where; the worktrees are there, and the others had their turn.
    failed = w.envctl("--headless", "--plan", "bad,other", "--json", rc=1).json()["error"]
    contains(failed["message"], "app_bad-1 is made, but its hook failed: .envctl.lua:6: on[\"project.created\"]: no database", "failed")
    contains(failed["hint"], "envctl delete-worktree app_bad-1", "what to do")
    equal(trees(w), ["app_bad-1", "app_good-1", "app_other-1"], "all are made")
    check((w.repo / "trees/app_other/1/made.json").exists(), "the others are served")
    w.envctl("import", "taken", rc=0)
    check((w.repo / "trees/taken/made.json").exists(), "an imported one as well")

    # Removing: a failure keeps it, and what would be lost is looked at first.
    (root / "made.json").unlink()
    (root / "keep").write_text("")
    w.envctl("delete-worktree", "app_good-1", "--headless", rc=1)  # an ignored file
    kept = w.envctl("delete-worktree", "app_good-1", "--headless", "--force", "--json", rc=1).json()["error"]
    equal(kept["code"], "hook_failed", "the hook says no")
    contains(kept["message"], ".envctl.lua:12: on[\"worktree.removing\"]: it is to be kept", "where")
    check(root.is_dir(), "and it is kept")
    (root / "keep").unlink()
    contains(w.envctl("delete-worktree", "app_good-1", "--headless", rc=0).err, "removing app_good-1 on app_good-1", "told")
    check(not root.exists(), "gone")

    # A script that does not even load keeps nobody from removing one for good.
    w.write(".envctl.lua", "return {\n")
    broken = w.envctl("delete-worktree", "app_other-1", "--force", "--headless", "--json", rc=1).json()["error"]
    equal(broken["code"], "script_invalid", "said")
    w.envctl("delete-worktree", "app_other-1", "--force", "--headless", "--bundled", rc=0)
    check("app_other-1" not in trees(w), "without the script")
    names = {h["name"]: h["available"] for h in w.envctl("script", "points", "--json", rc=0).json()["hooks"]}
    check(names["project.created"] and names["worktree.removing"], json.dumps(names))


AROUND = """
local on = {}
for _, name in ipairs { "prepare", "before_start", "service.ready", "started", "before_stop", "stopped" } do
  on[name] = function(ev, host)
    local whom = table.concat(ev.services or { ev.service or "-" }, ",")
    host.write("told", (host.read("told") or "") .. name .. " " .. whom .. "\\n")
  end
end
return {
  envctl = 1,
  services = {
    a = { command = "sleep 600", listens = false, prepare = { { name = "make", command = "true", inputs = { "make.txt" } } } },
    b = { command = "sleep 600", listens = false, needs = { "a" } },
  },
  on = on,
}
"""


@test
def around_starts_and_stops(w):
    w.configure(MAIN_BACKEND_ENABLE="false", MAIN_FRONTEND_ENABLE="false")
    w.write("make.txt", "")
    w.write(".envctl.lua", AROUND)
    w.write(".gitignore", "told\n")
    w.commit()
    w.envctl("script", "trust", rc=0)

    def told(*args):
        (w.repo / "told").unlink(missing_ok=True)
        w.envctl(*args, "--headless", rc=0)
        return (w.repo / "told").read_text().splitlines() if (w.repo / "told").exists() else []

    equal(told("start"), ["prepare -", "before_start a,b", "service.ready a", "service.ready b", "started a,b"], "a start")
    equal(told("start"), [], "all of it runs already")
    w.write("make.txt", "changed")
    equal(told("restart", "--service", "b"), ["before_start b", "service.ready b", "started b"], "one of them, again")
    equal(told("stop", "--service", "b"), ["before_stop Main B", "stopped Main B"], "one of them")
    equal(told("resume"), ["before_start a,b", "service.ready b", "started a,b"], "what was missing; nothing is prepared for a")
    equal(told("stop-all"), ["before_stop Main A,Main B", "stopped Main A,Main B"], "all of them, by name")
    equal(told("stop-all"), [], "there is none")
    told("start")
    equal(told("blast-all", "--yes"), ["before_stop Main A,Main B", "stopped Main A,Main B"], "blast-all")


@test
def an_optional_one_that_fails_is_said(w):
    w.configure(MAIN_BACKEND_ENABLE="false", MAIN_FRONTEND_ENABLE="false")
    w.write(".envctl.lua", """return { envctl = 1,
  services = { a = { command = "sleep 600", listens = false } },
  on = { started = { optional = true, run = function() error("no luck") end } },
}
""")
    w.envctl("script", "trust", rc=0)
    done = w.envctl("start", "--headless", rc=0)
    contains(done.err, ".envctl.lua:3: on.started: no luck (optional: it goes on)", "said")
    w.stop_all()


@test
def a_command_knows_where_it_is(w):
    w.services(backend="")
    w.write(".envctl.lua", """return { envctl = 1, commands = {
  where = { run = function(ctx, host) host.print(ctx.project, ctx.mode, ctx.root) end },
} }
""")
    w.commit()
    w.envctl("script", "trust", rc=0)
    w.git("worktree", "add", "-q", "-b", "feat-1", "trees/feat/1")
    tree = w.repo / "trees/feat/1"
    equal(w.envctl("where", rc=0, env={"ENVCTL_DEFAULT_MODE": "trees"}).out, f"Main\tmain\t{w.repo}\n", "in the repository")
    equal(w.envctl("where", cwd=tree, rc=0).out, f"feat-1\ttrees\t{tree}\n", "in a worktree")


main()
