#!/usr/bin/env bash
# Decides who develops what: a header with code behind it is core, one without is integration.
. "$(dirname "$0")/lib.sh"

cd "$WORK"
: >plan.txt
while read -r header; do
    if [ -e "src/$(basename "$header" .h).c" ]; then
        echo "integration $header" >>plan.txt
    else
        echo "core $header" >>plan.txt
    fi
done <missing-headers.txt
sed 's/^/patterns /' unguarded-headers.txt >>plan.txt
cat plan.txt
