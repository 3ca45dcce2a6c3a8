#!/usr/bin/env python3
"""On a terminal without a selection envctl asks: which worktrees, how many of which plan; and begins with the last choice."""

import json
import re

from lib import BIN, check, contains, equal, main, test, wait_for
from terminal import on_terminal


def prepare(w):
    w.services(backend="", TREES_FRONTEND_ENABLE=False)
    for name in ("web/checkout", "web/cart", "api/login"):
        w.write(f"todo/plans/{name}.md", f"# {name}\n")
    w.write(".gitignore", ".envctl\n")
    w.git("rm", "-q", "--cached", ".envctl")
    w.commit()


def running(w):
    return {s["project"] for s in w.state()["state"]["services"].values() if s["live"]}


def trees(w):
    return [p["name"] for p in w.envctl("list-trees", "--json", rc=0).json()["projects"]]


def dialogue(w, *argv, answers, code=0):
    """Answers each question; returns what the screen showed at the first one, and at the end."""
    t = on_terminal(w, BIN, *argv, lines=40)
    first = None
    for question, answer in answers:
        wait_for(lambda q=question: re.search(q, t.screen(), re.M), lambda q=question: f"{q!r} on\n{t.screen()}")
        first = first or t.screen()
        t.keys(*([answer, "Enter"] if answer else ["Enter"]))
    equal(t.exit_code(), code, f"exit code\n{t.screen()}\n")
    last = t.screen()
    t.close()
    t.code.unlink()
    return first, last


@test
def which_worktrees(w):
    prepare(w)
    w.envctl("--headless", "--plan", "checkout,cart,login", "--no-resume", rc=0)
    w.stop_all()
    (w.scope_dir() / "planning_selection.json").unlink()
    first, _ = dialogue(w, "start", "--trees", answers=[("^>", "1 web_ch")])
    equal(re.findall(r"^(.) +\d  (\S+)", first, re.M), [("*", "api_login-1"), ("*", "web_cart-1"), ("*", "web_checkout-1")],
          "those of plans")
    equal(running(w), {"api_login-1", "web_checkout-1"}, "what was chosen runs")
    w.stop_all()
    equal(json.loads((w.scope_dir() / "planning_selection.json").read_text())["selected_projects"],
          ["api_login-1", "web_checkout-1"], "remembered")
    listed = w.envctl("list-trees", "--json", rc=0).json()["projects"]
    equal([p["preselected"] for p in listed], [True, False, True], "the list knows it as well")
    first, _ = dialogue(w, "start", "--trees", answers=[("^>", "")])
    equal(re.findall(r"^(.) +\d  (\S+)", first, re.M), [("*", "api_login-1"), (" ", "web_cart-1"), ("*", "web_checkout-1")], "marks")
    equal(running(w), {"api_login-1", "web_checkout-1"}, "Enter: the same again")
    w.stop_all()
    _, last = dialogue(w, "start", "--trees", answers=[("^>", "nope"), ("there is no nope\n>", "web"), ("fits web_cart-1, web_ch.*\n>", "q")],
                       code=1)
    contains(last, "no worktree is selected", "q")
    equal(w.saved_state(), None, "nothing was started")


@test
def how_many_of_which_plan(w):
    prepare(w)
    _, last = dialogue(w, "--plan", answers=[("^>", "q")], code=1)
    contains(last, "no plan is selected", "q")
    first, _ = dialogue(w, "--plan", answers=[("^>", "cart 3=2")])
    equal(re.findall(r"^(.) +(\d)  (\S+)", first, re.M), [(" ", "1", "api/login.md"), (" ", "2", "web/cart.md"), (" ", "3", "web/checkout.md")],
          "the plans")
    equal(trees(w), ["web_cart-1", "web_checkout-1", "web_checkout-2"], "made")
    equal(running(w), set(trees(w)), "and started")
    w.stop_all()
    # Fewer: said before it happens.
    first, last = dialogue(w, "--plan", answers=[("^>", "checkout=1"), ("Stop web_checkout-2 and move to the trash", "n")], code=1)
    contains(first, "web/checkout.md  there: 2", "what is there")
    contains(last, "Nothing was changed", "no")
    equal(len(trees(w)), 3, "all there")
    dialogue(w, "--plan", answers=[("^>", "checkout=1"), ("Stop web_checkout-2 and move to the trash", "y")])
    equal(trees(w), ["web_cart-1", "web_checkout-1"], "one less")
    equal(running(w), {"web_checkout-1"}, "what was chosen runs")
    w.stop_all()
    # What somebody works in is refused without a question.
    (w.repo / "trees/web_cart/1/mine").write_text("x")
    _, last = dialogue(w, "--plan", answers=[("^>", "cart=0")], code=1)
    contains(last, "untracked: mine", "refused")
    check((w.repo / "trees/web_cart/1/mine").exists(), "and kept")
    (w.repo / "trees/web_cart/1/mine").unlink()
    # All gone, and the last choice remembered.
    for name in trees(w):
        w.envctl("delete-worktree", name, "--headless", rc=0)
    first, _ = dialogue(w, "--plan", answers=[("^>", "")])
    contains(first, "web/checkout.md  last time: 1", "the last choice")
    equal(trees(w), ["web_checkout-1"], "Enter: as last time")


@test
def without_a_terminal_nobody_is_asked(w):
    prepare(w)
    w.envctl("--headless", "--plan", "cart", rc=0)
    w.stop_all()
    for args in (["start", "--trees"], ["--plan"]):
        equal(w.envctl(*args, "--json", stdin="1\n", rc=1).json()["error"]["code"], "target_required", str(args))
    t = on_terminal(w, BIN, "--headless", "--plan")
    equal(t.exit_code(), 1, "--headless on a terminal")
    check("> " not in t.screen(), f"a question:\n{t.screen()}")
    t.close()


main()
