#!/usr/bin/env bash
# Counts the analyzer's errors by kind. Its stdin is the analyzer's result.
. "$(dirname "$0")/lib.sh"

counts=$({ grep -o '"kind": *"[a-z]*"' || true; } | sed 's/.*"\([a-z]*\)"$/\1/' | sort | uniq -c |
    awk '{ printf "%s\"%s\": %d", (NR > 1 ? ", " : ""), $2, $1 }')
echo "by kind: {$counts}"
result "{$counts}"
