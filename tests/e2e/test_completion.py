#!/usr/bin/env python3
"""Completion in the real shells: what a person gets who types a part of a word and the tab key."""

import shlex

from lib import BIN, check, equal, main, test, wait_for
from terminal import on_terminal

# What is typed -> candidates that have to be there, and one that must not.
CASES = [
    ("envctl stop-", ["stop-all"], "start"),
    ("envctl stop --serv", ["--service"], "--json"),
    ("envctl plan gro", ["group/one", "group/two"], "other/three"),
    ("envctl delete-worktree ", ["alpha-1", "beta-1"], "Main"),
    ("envctl explain-startup pl", ["plan"], "start"),
    ("envctl completion ", ["bash", "fish", "zsh"], "tcsh"),
]


def repository(w):
    w.services(backend="")
    for plan in ("group/one", "group/two", "other/three"):
        w.write(f"todo/plans/{plan}.md", "# a plan\n")
    w.commit()
    for tree in ("alpha", "beta"):
        w.git("worktree", "add", "-q", "-b", f"{tree}-1", f"trees/{tree}/1")
    w.env["PATH"] = f"{BIN.rsplit('/', 1)[0]}:{w.env['PATH']}"


def fits(typed, found, wanted, unwanted):
    equal([c for c in wanted if c not in found], [], f"missing for {typed!r}, got {found}")
    check(unwanted not in found, f"{typed!r} offers {unwanted}")


@test
def bash(w):
    repository(w)
    for typed, wanted, unwanted in CASES:
        words = " ".join(shlex.quote(word) for word in typed.split(" "))
        script = (
            f"source <(envctl completion bash); COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
            '_envctl; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        fits(typed, w.run("bash", "--norc", "-c", script, rc=0).out.split("\n"), wanted, unwanted)


@test
def fish(w):
    repository(w)
    for typed, wanted, unwanted in CASES:
        result = w.run("fish", "--no-config", "-c", f"envctl completion fish | source; complete -C {shlex.quote(typed)}", rc=0)
        fits(typed, [line.split("\t")[0] for line in result.out.split("\n")], wanted, unwanted)


@test
def zsh(w):
    """Its completion works in the line editor only, so on a terminal."""
    repository(w)
    (w.base / "home").mkdir(exist_ok=True)
    (w.base / "home/.zshrc").write_text(
        "autoload -U compinit; compinit -u -D\nsource <(envctl completion zsh)\nPS1='ready> '\n"
        "unsetopt list_ambiguous auto_menu; zstyle ':completion:*' list-prompt ''\n",
        encoding="utf-8",
    )
    for typed, wanted, _ in CASES:
        t = on_terminal(w, "zsh", "-d", "-i")
        wait_for(lambda t=t: "ready>" in t.screen(), lambda t=t: f"the prompt:\n{t.screen()}")
        t.keys("-l", typed)
        t.keys("Tab")
        wait_for(lambda t=t, wanted=wanted: all(c in t.screen() for c in wanted), lambda t=t, typed=typed: f"{typed}:\n{t.screen()}")
        t.close()
    t = on_terminal(w, "zsh", "-d", "-i")
    wait_for(lambda: "ready>" in t.screen(), lambda: f"the prompt:\n{t.screen()}")
    t.keys("-l", "envctl list-com")
    t.keys("Tab")
    wait_for(lambda: "envctl list-commands" in t.screen(), lambda: f"the whole word:\n{t.screen()}")
    t.keys("Enter")
    wait_for(lambda: "stop-all" in t.screen(), lambda: f"what was run:\n{t.screen()}")
    t.close()


main()
