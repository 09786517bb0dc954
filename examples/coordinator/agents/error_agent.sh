#!/usr/bin/env bash
# Writes the work list: which file each fix specialist has to look at.
. "$(dirname "$0")/lib.sh"

compile_errors | with_kinds | awk -F '[\t:]' '{ print $1, $2 }' | sort -u >"$WORK/worklist.txt"
echo "work list: $(grep -c . "$WORK/worklist.txt" || true) entries"
cat "$WORK/worklist.txt"
