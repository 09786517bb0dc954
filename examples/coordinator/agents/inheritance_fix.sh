#!/usr/bin/env bash
# Reaches members of the embedded `base` through it.
. "$(dirname "$0")/lib.sh"

mend() {
    local at file line column member fixed=0
    cd "$WORK"
    while at=$(compile_errors | with_kinds | awk -F '\t' '$1 == "inheritance" { print $2 }' |
        head -n 1) && [ -n "$at" ] && [ "$fixed" -lt 100 ]; do
        file=$(printf '%s' "$at" | cut -d: -f1)
        line=$(printf '%s' "$at" | cut -d: -f2)
        column=$(printf '%s' "$at" | cut -d: -f3)
        member=$(printf '%s' "$at" | sed "s/.*named '\(.*\)'.*/\1/")
        grep -q "[ *]$member;" include/entity.h || {
            echo "no entity has a member $member: $at" >&2
            exit 1
        }
        # The compiler points at the `.`, the `->` or the member; all are right of here.
        awk -v at="$line" -v column="$column" -v member="$member" '
            NR == at {
                start = column > 3 ? column - 3 : 1
                head = substr($0, 1, start - 1)
                tail = substr($0, start)
                if (!sub("->" member, "->base." member, tail)) sub("[.]" member, ".base." member, tail)
                $0 = head tail
            }
            { print }' "$file" >"$file.new"
        mv "$file.new" "$file"
        echo "mended $at"
        fixed=$((fixed + 1))
    done
    result "{\"fixed\": $fixed}"
}

alone mend
