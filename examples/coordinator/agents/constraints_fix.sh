#!/usr/bin/env bash
# Mends types that nobody included and variables that are const and written all the same.
. "$(dirname "$0")/lib.sh"

mend_one() {
    local file=$1 line=$2 message=$3 name
    case $message in
    *"unknown type name 'size_t'"*)
        sed -i "0,/^#include/s//#include <stddef.h>\n\n#include/" "$file"
        ;;
    *read-only*)
        # The variable that is written to, and its nearest declaration above.
        name=$(sed -n "${line}s/^ *\([a-z_]*\).*/\1/p" "$file")
        line=$(awk -v until="$line" -v name="$name" \
            'NR < until && $0 ~ "const .*[*]" name "( |;|$)" { at = NR } END { print at + 0 }' "$file")
        [ "$line" -gt 0 ] || return 1
        sed -i "${line}s/const //" "$file"
        ;;
    *) return 1 ;;
    esac
}

mend() {
    local at fixed=0
    cd "$WORK"
    while at=$(compile_errors | with_kinds | awk -F '\t' '$1 == "constraints" { print $2 }' |
        head -n 1) && [ -n "$at" ] && [ "$fixed" -lt 100 ]; do
        mend_one "$(printf '%s' "$at" | cut -d: -f1)" "$(printf '%s' "$at" | cut -d: -f2)" "$at" || {
            echo "no remedy for $at" >&2
            exit 1
        }
        echo "mended $at"
        fixed=$((fixed + 1))
    done
    result "{\"fixed\": $fixed}"
}

alone mend
