#!/usr/bin/env bash
# Removes second definitions of functions, and guards headers that define a type twice.
. "$(dirname "$0")/lib.sh"

remove_function() {
    awk -v from="$2" 'NR < from || done { print; next } /^}/ { done = 1 }' "$1" >"$1.new"
    mv "$1.new" "$1"
}

mend() {
    local at file line fixed=0
    cd "$WORK"
    # From the bottom up, so that the lines above keep their numbers.
    while at=$(compile_errors | with_kinds | awk -F '\t' '$1 == "duplicate" { print $2 }' |
        sort -t: -k1,1 -k2,2nr | head -n 1) && [ -n "$at" ] && [ "$fixed" -lt 100 ]; do
        file=${at%%:*}
        line=$(printf '%s' "$at" | cut -d: -f2)
        case $file in
        *.h) guard_header "$file" ;;
        *) remove_function "$file" "$line" ;;
        esac
        echo "mended $at"
        fixed=$((fixed + 1))
    done
    result "{\"fixed\": $fixed}"
}

alone mend
