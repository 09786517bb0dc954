#!/usr/bin/env bash
# Finds what the project includes or calls and nowhere has: what is to be developed.
. "$(dirname "$0")/lib.sh"

cd "$WORK"
missing=$({ grep -hoE '^#include "[a-z_]+\.h"' src/*.c tests/*.c || true; } | sed 's/.*"\(.*\)"/\1/' | sort -u |
    while read -r header; do [ -e "include/$header" ] || echo "$header"; done)
printf '%s\n' "$missing" | sed '/^$/d' >missing-headers.txt
grep -L '^#ifndef' include/*.h >unguarded-headers.txt || true
echo "missing headers: $(tr '\n' ' ' <missing-headers.txt)"
echo "headers without a guard: $(tr '\n' ' ' <unguarded-headers.txt)"
