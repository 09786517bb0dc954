#!/usr/bin/env bash
# Builds the program and runs its tests.
. "$(dirname "$0")/lib.sh"

cd "$WORK"
sources=$(ls src/*.c | grep -v '^src/main.c$')
# shellcheck disable=SC2086 # a list of names
"${CC:-cc}" -std=c11 -Wall -Iinclude $sources src/main.c -o shop
# shellcheck disable=SC2086
"${CC:-cc}" -std=c11 -Wall -Iinclude $sources tests/test_stock.c -o test_stock
status=0
./test_stock | tee tests.txt || status=$?
passed=$(grep -c '^ok' tests.txt || true)
failed=$(grep -c '^not ok' tests.txt || true)
result "{\"passed\": $passed, \"failed\": $failed}"
exit "$status"
