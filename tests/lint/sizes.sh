#!/bin/sh
# Fails on files over 1,000 lines, on functions that do not fit on a screen, on lines over 100 columns.
set -eu
cd "$(dirname "$0")/../.."
awk '
FNR == 1000 { printf "%s: over 1,000 lines\n", FILENAME; failed = 1 }
FNR == 1 { start = 0 }
FILENAME ~ /\.c$/ && /^{/ { start = FNR }
FILENAME ~ /\.c$/ && /^}/ && start { if (FNR - start > 75) { printf "%s:%d: a function of %d lines\n", FILENAME, start, FNR - start; failed = 1 } start = 0 }
FILENAME ~ /\.lua$/ && length($0) > 110 { printf "%s:%d: %d columns\n", FILENAME, FNR, length($0); failed = 1 }
END { exit failed }
' $(git ls-files '*.c' '*.h' '*.lua')
