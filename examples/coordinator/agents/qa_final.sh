#!/usr/bin/env bash
# The last word: nothing is wrong any more, and the program says what it should.
. "$(dirname "$0")/lib.sh"

cd "$WORK"
left=$(compile_errors | grep -c . || true)
./shop >shop.txt
total=$(sed -n 's/^total //p' shop.txt)
printf 'compile errors left: %d\ntotal of the stock: %d\n' "$left" "$total" | tee qa-report.txt
result "{\"errors_left\": $left, \"total\": $total}"
[ "$left" -eq 0 ] && [ "$total" -eq 865 ]
