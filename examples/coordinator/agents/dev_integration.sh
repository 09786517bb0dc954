#!/usr/bin/env bash
# Writes the headers of code that is there: its functions, declared.
. "$(dirname "$0")/lib.sh"

declare_functions() {
    local part=$1 guard
    guard=$(printf '%s' "$part" | tr '[:lower:]' '[:upper:]')_H
    {
        printf '#ifndef %s\n#define %s\n\n' "$guard" "$guard"
        grep -oE '^#include "[a-z_]+\.h"' "src/$part.c" |
            grep -v -e "\"$part.h\"" -e '"totals.h"' || true
        printf '\n'
        grep -E '^[a-z].*\) \{$' "src/$part.c" | sed 's/ {$/;/'
        printf '\n#endif\n'
    } >"include/$part.h"
    echo "declared $part"
}

cd "$WORK"
for header in $(awk '$1 == "integration" { print $2 }' plan.txt); do
    alone declare_functions "${header%.h}"
done
