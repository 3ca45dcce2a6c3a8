#!/usr/bin/env python3
"""What `cmake --install` puts where: the program runs from there, and the documentation names the right places."""

import os
import re

from lib import BIN, TOP, check, contains, equal, main, test


@test
def from_another_place(w):
    prefix = w.base / "usr"
    w.run("cmake", "--install", os.path.dirname(BIN), "--prefix", prefix, rc=0)
    files = sorted(str(p.relative_to(prefix)) for p in prefix.rglob("*") if p.is_file())
    equal(files, ["bin/envctl", "share/envctl/lua/_meta/envctl/script.lua", "share/man/man1/envctl.1"], "files")
    out = w.run(prefix / "bin/envctl", "--version", rc=0).out
    equal(out, w.envctl("--version", rc=0).out, "the same program")
    library = re.search(r'"workspace.library": \["/usr/local/([^"]*)"\]', (TOP / "docs/scripting.md").read_text()).group(1)
    check((prefix / library).is_dir(), f"the guide names {library}")
    contains((prefix / library / "envctl/script.lua").read_text(), "---@class envctl.Script", "the stub")


@test
def hardened(w):
    """What a fault in C cannot use: fixed addresses, writable tables of functions, an executable stack."""
    said = w.run("readelf", "-hldW", BIN, rc=0).out
    for part in ("Type: +DYN", "GNU_RELRO", "BIND_NOW", r"GNU_STACK .* RW +0x"):
        check(re.search(part, said), f"no {part} in\n{said}")
    symbols = w.run("readelf", "-W", "--dyn-syms", BIN, rc=0).out
    for name in ("__stack_chk_fail", "__snprintf_chk"):
        contains(symbols, name, "checks of the compiler and the C library")


main()
