#!/usr/bin/env bash
# Develops the missing parts that the architect gave to it.
. "$(dirname "$0")/lib.sh"

develop() {
    local part=$1
    case $part in
    totals)
        printf '%s\n' '#ifndef TOTALS_H' '#define TOTALS_H' '' '#include "stock.h"' '' \
            'long total_value(const struct stock *stock);' '' '#endif' >include/totals.h
        printf '%s\n' '#include "totals.h"' '' 'long total_value(const struct stock *stock) {' \
            '    long total = 0;' '    int i;' '    for (i = 0; i < stock->used; i++) {' \
            '        total += item_value(&stock->items[i]);' '    }' '    return total;' '}' \
            >src/totals.c
        ;;
    *)
        echo "nobody has said what $part.h is for" >&2
        return 1
        ;;
    esac
    echo "developed $part"
}

cd "$WORK"
for header in $(awk '$1 == "core" { print $2 }' plan.txt); do
    alone develop "${header%.h}"
done
