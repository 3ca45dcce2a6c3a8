#!/usr/bin/env bash
# Links between our own documents lead somewhere. Links to other places are not asked.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
bad=0
while read -r file; do
  while read -r target; do
    target=${target%%#*}
    if [ -n "$target" ] && [ ! -e "$(dirname "$file")/$target" ]; then
      echo "$file: no $target"
      bad=1
    fi
  done < <(grep -oE '\]\([^)]+\)' "$file" | sed -E 's/^\]\(//; s/\)$//' | grep -vE '^[a-z]+:')
done < <(git ls-files --cached --others --exclude-standard -- '*.md')
exit "$bad"
