#!/bin/sh
# Fails on an arrow that points up: a file includes its own folder and floors below, never a sibling;
# Lua's engine requires detectors, never the reverse; libraries only where they are wrapped.
set -eu
cd "$(dirname "$0")/../.."

awk '
BEGIN {
  split("base kernels promql loop net store tsdb host bindings app", order, " ")
  split("0 1 1 2 3 3 3 4 5 6", floor_of, " ")
  for (i in order) level[order[i]] = floor_of[i]
}
FNR == 1 { split(FILENAME, part, "/"); own = part[2] }
/^#include "/ {
  split($2, path, "\""); split(path[2], p, "/"); other = p[1]
  if (!(other in level)) { bad("includes \"" path[2] "\", which is no part of a floor") ; next }
  if (other != own && level[other] >= level[own]) bad("floor " level[own] " includes " path[2] " of floor " level[other])
}
/^#include <(lua|lauxlib|lualib)\.h>/ && level[own] < 4 { bad("lua.h below floor 4") }
/^#include <uv\.h>/ && level[own] < 2 { bad("uv.h below floor 2") }
/^#include <curl\// && FILENAME !~ /net\/(curl_loop\.h|url\.c)$/ { bad("curl outside of what wraps it") }
/^#include "net\/curl_loop\.h"/ && FILENAME !~ /net\/(curl_loop|http_client|websocket)\.c$/ { bad("curl outside of what wraps it") }
/^#include <wslay\// && FILENAME !~ /net\/websocket_frames\.c$/ { bad("wslay outside of what wraps it") }
/^#include <microhttpd\.h>/ && FILENAME !~ /net\/http_server\.c$/ { bad("microhttpd outside of what wraps it") }
/^#include <sqlite3\.h>/ && FILENAME !~ /store\/store\.c$/ { bad("sqlite3 outside of what wraps it") }
/^#include <yaml\.h>/ && FILENAME !~ /bindings\/yaml\.c$/ { bad("yaml outside of what wraps it") }
/^#include <cjson\// && FILENAME !~ /(base\/json\.h|bindings\/json\.c)$/ { bad("cJSON outside of what wraps it") }
/^#include <openssl\// && FILENAME !~ /base\/hash\.c$/ { bad("openssl outside of what wraps it") }
/^#include <pcre2\.h>/ && FILENAME !~ /base\/regex\.c$/ { bad("pcre2 outside of what wraps it") }
/^#include <time\.h>/ && own != "base" && FILENAME !~ /app\/watchdog\.c$/ { bad("<time.h> outside of base/") }
/[^a-z_](rand|srand|random)\(/ && own == "kernels" { bad("randomness that nobody seeded") }
function bad(what) { printf "%s:%d: %s\n", FILENAME, FNR, what; failed = 1 }
END { exit failed }
' runtime/*/*.c runtime/*/*.h

# In Lua: what a folder may not require.
awk '
FNR == 1 { split(FILENAME, part, "/"); own = part[4] == "" ? "helpers" : part[3] }
function bad(name) { printf "%s:%d: %s requires %s\n", FILENAME, FNR, own, name; failed = 1 }
match($0, /require *\(?["\x27][a-z_.]+["\x27]/) {
  name = substr($0, RSTART, RLENGTH); sub(/^require *\(?["\x27]/, "", name); sub(/["\x27]$/, "", name)
  split(name, n, "."); top = n[1]
  if (own == "detectors" && top ~ /^(engine|server|command|rules|actions)$/) bad(name)
  if (own == "actions" && top ~ /^(engine|server|command|rules)$/) bad(name)
  if (own == "rules" && top ~ /^(server|command)$/) bad(name)
  if (own == "rules" && top == "engine" && name != "engine.plan") bad(name)
  if (own == "engine" && top ~ /^(command)$/) bad(name)
  if (own == "helpers" && top ~ /^(server|command|rules|actions)$/) bad(name)
  if (own == "helpers" && top == "engine" && name !~ /^engine\.(freeze|change_calendar)$/) bad(name)
}
END { exit failed }
' $(find lua/stdlib -name '*.lua')
