#!/usr/bin/env bash
# Counts the compile errors of the project, for the mode that decides by it. Edits nothing.
WORK=${PROJECT:?}
. "$(dirname "$0")/lib.sh"

printf '{"total_errors": %d}\n' "$(compile_errors | grep -c . || true)"
