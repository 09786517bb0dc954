#!/usr/bin/env bash
# Compiles every file of the project and says what is wrong with it. The agents after it mend a
# copy, which this one makes the first time.
. "$(dirname "$0")/lib.sh"

[ -d "$PROJECT/src" ] || { echo "there is no project at $PROJECT" >&2; exit 1; }
mkdir -p "$(dirname "$WORK")"
[ -d "$WORK" ] || cp -R "$PROJECT" "$WORK"
errors=$(compile_errors | with_kinds)
total=$(printf '%s' "$errors" | grep -c . || true)
echo "$total compile errors in $WORK"
printf '%s\n' "$errors" | cut -f2 | sed '/^$/d; s/^/  /'
result "{\"total_errors\": $total, \"errors\": $(printf '%s' "$errors" | as_json)}"
