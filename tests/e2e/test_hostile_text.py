#!/usr/bin/env python3
"""Hostile text in logs, errors, branches and names (R36): of what a terminal would act upon nothing gets through that is not our own.
Which bytes are taken out is held byte by byte in tests/lua/clean_test.lua; here every way to the terminal is looked at."""

import os
import random
import re

from lib import BIN, PYTHON, SEED, Failed, check, contains, equal, main, rounds, test
from terminal import Pty

ESC, BEL, ST = b"\x1b", b"\x07", b"\x1b\\"
# What envctl itself may print: text, line ends, colours, and on progress lines "column 1", "erase line", "up n lines", "erase below".
OWN = re.compile(rb"\x1b\[[0-9;]*[mKAG]|\x1b\[J|\x1b\[\?25[lh]|[\r\n\t]")
HOSTILE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\udc80-\udcff]")
PARTS = [
    ESC, BEL, ST, ESC + b"[", ESC + b"]", ESC + b"P", ESC + b"_", ESC + b"c", ESC + b"(0", ESC + b"#8", b"\x0e", b"\x0f", b"\x08", b"\x7f", b"\0",
    b"\x9b", b"\x9d", b"\xc2\x9b", b"\xc2\x9d", b"\xff\xfe", b"\xc0\x9b", "\u202e".encode(), "\u2067".encode(), b"2J", b"?1049h", b"6n", b"52;c;aGk=",
    b"0;title", b"31m", b"text", "ä".encode(), b"\r", b";", b"8;;http://x",
]


def hostile_lines(dice, count):
    return [b"".join(dice.choice(PARTS) for _ in range(dice.randint(1, 30))).replace(b"\n", b"") for _ in range(count)]


def acceptable(output, what):
    text = OWN.sub(b"", output).decode("utf-8", errors="surrogateescape")
    bad = HOSTILE.search(text)
    if bad:
        raise Failed(f"{what}: U+{ord(bad[0]):04X} reaches the terminal, in {text[max(0, bad.start() - 40) :][:80]!r}")
    return text


def on_pty(w, *args):
    t = Pty(w, BIN, *args)
    code = t.wait(60)
    check(t.restored(), f"{args}: the terminal is as it was")
    t.close()
    return code, t.bytes


@test
def in_logs(w):
    w.services(backend="--garbage")
    w.start()
    path = w.saved_state()["services"]["Main Backend"]["log_path"]
    dice = random.Random(f"{SEED} logs")
    lines = hostile_lines(dice, rounds(200))
    with open(path, "ab") as f:
        f.write(b"\n".join(lines) + b"\n")
        for _ in range(20):  # noise, and lines that never end
            f.write(dice.randbytes(100 * 1024))
        f.write(b"\n" + b"\x1b]" * 200000 + b"\n" + b"\xff" * 300000 + b"\nthe last line\n")
    for options in ((), ("--logs-tail", "100000"), ("--since", "1h"), ("--grep", "text|line"), ("--logs-duration", "0.3")):
        code, output = on_pty(w, "logs", "--all", *options)
        equal(code, 0, f"exit code of logs {options}")
        contains(acceptable(output, f"logs {options}"), "the last line", f"logs {options}")
    document = w.envctl("logs", "--all", "--logs-tail", "100000", "--json", rc=0)
    check(len(document.json()["services"][0]["tail_lines"]) > len(lines), "lines in the document")
    equal([b for b in document.out_bytes if b < 32 and b != 10 or b > 126], [], "bytes of the document that are not plain ASCII")


@test
def in_failures(w):
    """What a service printed before it failed is in the message of the start, and in `errors`."""
    dice = random.Random(f"{SEED} failures")
    for n, line in enumerate(hostile_lines(dice, rounds(200) // 40)):
        (w.base / "text").write_bytes(line * 3 + b"\n")
        w.write("backend/README", "a service\n")
        w.configure(
            MAIN_FRONTEND_ENABLE=False,
            ENVCTL_BACKEND_START_CMD=f"{PYTHON} -c 'import os; os.write(1, open(\"{w.base}/text\", \"rb\").read()); os._exit(3)'",
        )
        for command in (["start"], ["errors"], ["health"], ["show-state"]):
            code, output = on_pty(w, *command)
            check(code == 1 or command == ["show-state"] and code == 0, f"{command}: exit code {code}")
            text = acceptable(output, f"round {n + 1}, {command}, {line!r}")
            if command == ["start"]:
                contains(text, "exited with code 3", "the message")


@test
def in_names(w):
    """Names of branches and directories can hold what turns text around, and directories everything but a slash."""
    w.services(backend="")
    w.write(".gitignore", "trees/\n")
    w.commit()
    w.git("worktree", "add", "-q", "-b", "feature\u202e-1", "trees/feature/1")
    w.git("worktree", "add", "-q", "-b", "other\u0085x", "trees/fea\u202eture\x1b[31m/1")
    for command in (["list-trees"], ["list-targets"], ["explain-startup", "--trees"], ["ports"], ["show-config"], ["logs", "--service", "\x1b]0;x\x07"]):
        code, output = on_pty(w, *command)
        check(code in (0, 1), f"{command}: exit code {code}")
        acceptable(output, str(command))
    os.makedirs(w.repo / "todo/plans/group\x1b[2J")
    (w.repo / "todo/plans/group\x1b[2J/a\u202eb.md").write_text("# \x1b]0;x\x07\n", encoding="utf-8")
    code, output = on_pty(w, "explain-startup", "--plan", "group")
    acceptable(output, "explain-startup --plan")


if __name__ == "__main__":
    main()
