#!/usr/bin/env bash
# Gives every header its include guard.
. "$(dirname "$0")/lib.sh"

cd "$WORK"
for header in $(awk '$1 == "patterns" { print $2 }' plan.txt); do
    alone guard_header "$header"
    echo "guarded $header"
done
