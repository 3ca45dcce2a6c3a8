#!/usr/bin/env bash
# The rules of the house (docs/architecture.md): which room may use what. One line per rule: ok, or FAIL with the places.
# With an argument only the rules whose name begins so.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
only=${1:-}

# rule NAME COMMAND…: the command prints the places that break the rule.
rule() {
  local name=$1 found
  [[ $name == "$only"* ]] || return
  shift
  found=$("$@")
  if [ -z "$found" ]; then
    echo "ok $name"
  else
    echo "FAIL $name:"
    printf '%s\n' "$found" | head -n 20 | sed 's/^/    /'
  fi
}

# includes HEADER ALLOWED…: files that include a header outside of the allowed paths (patterns).
includes() {
  local header=$1 file pattern
  shift
  grep -rlE "^ *# *include *[<\"]($header)[>\"]" src include tests --include='*.[ch]' | while read -r file; do
    for pattern in "$@"; do
      # shellcheck disable=SC2053 # a pattern on purpose
      [[ $file == $pattern ]] && continue 2
    done
    echo "$file"
  done
}

# Code of C files without comments and string literals, as file:line: text.
c_code() {
  python3 - "$@" <<'PY'
import re, sys
token = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
for name in sys.argv[1:]:
    text = token.sub(lambda m: '""' + "\n" * m[0].count("\n"), open(name, encoding="utf-8").read())
    for number, line in enumerate(text.split("\n"), 1):
        print(f"{name}:{number}: {line}")
PY
}

prints_in_c() {
  # shellcheck disable=SC2046 # names without blanks
  c_code $(find src -name '*.c' ! -path src/main.c ! -path 'src/tools/*') | grep -E '\b(printf|fprintf|puts|fputs|putchar|perror)\('
}

# Code of Lua files without comments and strings, as file:line:text. Long strings and comments are taken out as blocks.
lua_code() {
  python3 - "$@" <<'PY'
import re, sys
token = re.compile(r"""--\[(=*)\[.*?\]\1\]|--[^\n]*|\[(=*)\[.*?\]\2\]|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
for name in sys.argv[1:]:
    text = token.sub(lambda m: "''" + "\n" * m[0].count("\n"), open(name, encoding="utf-8").read())
    for number, line in enumerate(text.split("\n"), 1):
        print(f"{name}:{number}: {line}")
PY
}

policy() {
  find lua/envctl -name '*.lua' | sort
}

io_in_policy() {
  # shellcheck disable=SC2046 # names without blanks
  lua_code $(policy) | grep -E '(^|[^A-Za-z0-9_.:])(io|os|debug\.sethook|dofile|loadfile)\.[a-z]|(^|[^A-Za-z0-9_.:])(print|dofile|loadfile)\b *[(]'
}

globals_in_policy() {
  luacheck --quiet --no-color --codes --only 111 112 113 -- lua/envctl 2>/dev/null | grep -E '\((W11[123]|E0)'
}

# What each room of the policy may require: a pattern for all that is not allowed to be missing from it. Arrows only go forward.
requires() {
  local room=$1 allowed=$2
  find "lua/envctl/$room" -name '*.lua' -exec grep -nHE 'require' {} + | sed -E 's/:([0-9]+):.*--.*require.*/:\1:/' |
    grep -oE "^[^:]+:[0-9]+:|require *\(? *['\"][a-z0-9_.]+['\"]" | awk -v allowed="$allowed" '
      /^lua\// {place = $0; next}
      {gsub(/require *\(? *|[\047"]/, ""); if ($0 !~ allowed) print place " " $0}'
}

long_files() {
  find src include lua \( -name '*.[ch]' -o -name '*.lua' \) -exec wc -l {} + |
    awk '$2 != "total" && $1 > 800 {print $2 ": " $1 " lines"}'
}

unknown_folders() {
  git ls-files --cached --others --exclude-standard | sed -n 's|/.*||p' | sort -u |
    grep -vxE 'src|include|lua|tests|docs|examples|\.ci'
}

machine_paths() {
  git ls-files --cached --others --exclude-standard -z |
    xargs -0 grep -nIE '/(work|root)/(main|shared|\.)|/home/[a-z]+/' 2>/dev/null | grep -v -e '^tests/lint/layers.sh:' -e "'/home/node/.n8n'" # in an image
}

shell_in_c() {
  # shellcheck disable=SC2046 # names without blanks
  c_code $(find src -name '*.c') | grep -E '\b(system|popen)\('
}

rule 'lua.h stays in src/lua, main.c, the embed tool and tests' \
  includes '(lua|lauxlib|lualib)\.h' 'src/lua/*' src/main.c src/tools/embed.c 'tests/*'
rule 'lua_cjson.h stays in src/lua and tests' includes '.*cjson\.h' 'src/lua/*' 'tests/*'
rule 'git2.h stays in src/core/git*.c' includes 'git2(/.*)?\.h' 'src/core/git*.c'
rule 'uv.h stays in src/core' includes 'uv\.h' 'src/core/*' 'tests/*'
rule 'headers in include/ name no library' includes '(uv|git2|lua)\.h' 'src/*' 'tests/*'
rule 'C prints nothing outside main.c and the tools' prints_in_c
rule 'C runs no shell' shell_in_c
rule 'policy uses no io, os, print' io_in_policy
rule 'policy has no globals' globals_in_policy
rule 'plan/ is pure: no host module but hash' requires plan '^envctl\.(host\.hash|util\.|plan\.|deps\.plan$|resume\.reconcile$|err$|state\.names)'
rule 'resume/reconcile is pure too' requires resume/reconcile.lua '^envctl\.(util\.|plan\.digest$|state\.(names|exit))'
rule 'deps/plan is pure too' requires deps/plan.lua \
  '^envctl\.(host\.hash|util\.|plan\.|deps\.(plan|definitions|described)$|err$|state\.names)'
rule 'deps/described is pure too' requires deps/described.lua \
  '^envctl\.(util\.|plan\.|deps\.(definitions)$|err$)'
rule 'deps/supabase is pure too' requires deps/supabase.lua '^envctl\.(host\.hash$|util\.|deps\.definitions$)'
rule 'deps/definitions is pure too' requires deps/definitions.lua '^envctl\.(host\.hash$|config\.launch_env$|util\.|deps\.|err$)'
rule 'ui/ does not reach back' requires ui '^envctl\.(host\.|util\.|ui\.|err$|task$|state\.names)'
rule 'util/ stands alone' requires util '^(envctl\.(host\.(json|hash)|util\.|err$)|cjson)'
rule 'state/ knows no keeper, plan or command' requires state '^envctl\.(host\.|util\.|state\.|err$|task$)'
rule 'files of at most 800 lines' long_files
rule 'no other top-level folder' unknown_folders
rule 'no paths of one machine' machine_paths
