#!/usr/bin/env python3
"""Every promise of docs/guarantees.md names a test that exists. With an argument: of that file."""

import importlib
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
TEST = re.compile(r"`(tests/(e2e|lua|c)/(\w+)\.(?:py|lua|c)) (\w+)`")


def names_in(path, kind, module):
    """The tests of a file. Those of the e2e tests are registered while it is loaded, and some are made in a loop."""
    if not (TOP / path).is_file():
        return set()
    if kind == "e2e":
        lib.TESTS.clear()
        importlib.import_module(module)
        return {name for name, _, _ in lib.TESTS}
    text = (TOP / path).read_text(encoding="utf-8")
    return set(re.findall(r"^(?:function )?M\.(test_\w+)" if kind == "lua" else r"\(?(test_\w+)\(void \*\*", text, re.M))


sys.path.insert(0, str(TOP / "tests/e2e"))
sys.dont_write_bytecode = True
lib = importlib.import_module("lib")
lib.main = lambda: None  # loading a file is not running it

page = Path(sys.argv[1]) if len(sys.argv) > 1 else TOP / "docs/guarantees.md"
known, promises, bad = {}, 0, 0
for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
    if not line.startswith("| ") or line == "| promise | test |":
        continue
    promises += 1
    cells = line.strip("| ").split(" | ")
    tests = TEST.findall(cells[-1])
    if len(cells) != 2 or ", ".join(f"`{path} {name}`" for path, _, _, name in tests) != cells[-1] or not tests:
        print(f"{page.name}:{number}: expected: | promise | `tests/… name`, … |")
        bad += 1
    for path, kind, module, name in tests:
        if path not in known:
            known[path] = names_in(path, kind, module)
        if name not in known[path]:
            print(f"{page.name}:{number}: {path} has no test {name}")
            bad += 1
if not promises:
    print(f"{page.name}: no promises")
sys.exit(1 if bad or not promises else 0)
