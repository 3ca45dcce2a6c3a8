#!/usr/bin/env bash
# The layer rules can fail: each is broken once in a copy of the tree, and has to say so.
set -u
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

fresh() {
  rm -rf "${copy:?}/tree"
  mkdir "$copy/tree"
  (cd "$top" && git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents -t "$copy/tree" 2>/dev/null)
  git init -q "$copy/tree"
}

# breaks RULE FILE TEXT: with TEXT added to FILE, the rule whose name begins with RULE fails.
breaks() {
  mkdir -p "$(dirname "$copy/tree/$2")"
  printf '%b\n' "$3" >>"$copy/tree/$2"
  if "$copy/tree/tests/lint/layers.sh" "$1" | grep -q "^FAIL $1"; then
    echo "ok a broken rule is found: $1"
  else
    echo "FAIL a broken rule is not found: $1"
  fi
  rm -f "$copy/tree/$2"
  (cd "$top" && [ -f "$2" ] && cp "$2" "$copy/tree/$2")
}

fresh
breaks 'lua.h stays' src/core/planted.c '#include <lua.h>'
breaks 'lua_cjson.h stays' src/core/planted.c '#include <lua_cjson.h>'
breaks 'git2.h stays' src/lua/planted.c '# include <git2/repository.h>'
breaks 'uv.h stays' src/lua/planted.c '#include "uv.h"'
breaks 'headers in include/' include/envctl/planted.h '#include <uv.h>'
breaks 'C prints nothing' src/core/planted.c 'void f(void) { printf("x"); }'
breaks 'C runs no shell' src/core/planted.c 'int f(void) { return system("x"); }'
breaks 'policy uses no io' lua/envctl/util/planted.lua "local x = 1\nio.open('x')"
breaks 'policy uses no io' lua/envctl/util/planted.lua "print('x')"
breaks 'policy uses no io' lua/envctl/util/planted.lua 'return os.getenv'
breaks 'policy has no globals' lua/envctl/util/planted.lua 'planted = 1'
breaks 'plan/ is pure' lua/envctl/plan/planted.lua "local fs = require 'envctl.host.fs'\nreturn fs"
breaks 'deps/plan is pure' lua/envctl/deps/plan.lua "local fs = require 'envctl.host.fs'"
breaks 'ui/ does not reach' lua/envctl/ui/planted.lua "return require('envctl.keeper.client')"
breaks 'util/ stands alone' lua/envctl/util/planted.lua "return require('envctl.config.load')"
breaks 'state/ knows no' lua/envctl/state/planted.lua "return require 'envctl.keeper.client'"
breaks 'files of at most' lua/envctl/util/planted.lua "$(printf -- '--\\n%.0s' $(seq 801))"
breaks 'no other top-level' scripts/planted.txt x
breaks 'no paths of one machine' docs/planted.md 'see /wor''k/main/docs'
