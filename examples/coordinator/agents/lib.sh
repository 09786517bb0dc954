# What every agent of this example uses. Sourced; expects WORK, the copy of the project to mend.

set -euo pipefail
export LC_ALL=C
case $WORK in /*) ;; *) WORK=$PWD/$WORK ;; esac

# The project's compile errors, one a line, each once: FILE:LINE:COLUMN: error: MESSAGE
compile_errors() {
    local file
    (
        cd "$WORK"
        for file in src/*.c tests/*.c; do
            "${CC:-cc}" -std=c11 -fsyntax-only -Wall -Werror=implicit-function-declaration \
                -Iinclude "$file" 2>&1 || true
        done
    ) | grep -E '^[^:]+:[0-9]+:[0-9]+: (fatal )?error: ' | sort -u || true
}

# Adds to each error, in front, what kind of agent mends it.
with_kinds() {
    awk '{
        kind = "other"
        if (/No such file or directory/) kind = "integration"
        else if (/redefinition of/) kind = "duplicate"
        else if (/has no member named/) kind = "inheritance"
        else if (/unknown type name|read-only/) kind = "constraints"
        else if (/implicit declaration|undeclared function/) kind = "missing"
        print kind "\t" $0
    }'
}

# Errors with their kinds on stdin, a JSON array on stdout.
as_json() {
    awk -F '\t' '
        BEGIN { printf "[" }
        {
            split($2, at, ":")
            message = $2
            sub(/^[^:]+:[0-9]+:[0-9]+: (fatal )?error: /, "", message)
            gsub(/\\/, "\\\\", message)
            gsub(/"/, "\\\"", message)
            printf "%s{\"kind\": \"%s\", \"file\": \"%s\", \"line\": %d, \"message\": \"%s\"}",
                (NR > 1 ? ", " : ""), $1, at[1], at[2], message
        }
        END { print "]" }'
}

# Runs a command while no other agent edits the project.
alone() {
    (
        flock 9
        "$@"
    ) 9>"$WORK/.editing"
}

# Puts an include guard around a header that has none.
guard_header() {
    local header=$1 name
    grep -q '^#ifndef' "$header" && return 0
    name=$(basename "$header" .h | tr '[:lower:]' '[:upper:]')_H
    { printf '#ifndef %s\n#define %s\n\n' "$name" "$name"; cat "$header"; printf '\n#endif\n'; } \
        >"$header.new"
    mv "$header.new" "$header"
}

# The task's result, which the tasks behind it can look at.
result() {
    printf '%s\n' "$1" >"$SEGUE_RESULT"
}
