#!/usr/bin/env bash
# A client in bash, with nothing but a coprocess: runs a command in a session of a sidecar, shows what it says, and exits as it did.
#
#     coproc.sh 'echo hello; exit 3'
#
# TURNLANE_BIN names the program, otherwise it is `turnlane` on the PATH. One JSON text a line goes in, one comes out; this takes apart only the few
# that it asked for. For more than that take `jq`, or a client library.
set -euo pipefail

# A text as a JSON string.
quote() {
  local text=$1
  text=${text//\\/\\\\} text=${text//\"/\\\"} text=${text//$'\n'/\\n} text=${text//$'\r'/\\r} text=${text//$'\t'/\\t}
  printf '"%s"' "$text"
}

# The string of a field, as it stands in the line. (No object of turnlane's has a quote in a name, and quotes in texts are escaped.)
field() {
  local pattern="\"$2\":\"(([^\"\\\\]|\\\\.)*)\""
  [[ $1 =~ $pattern ]] && printf '%s' "${BASH_REMATCH[1]}"
}

# The number of a field, if it has one.
number() {
  local pattern="\"$2\":(-?[0-9]+)"
  [[ $1 =~ $pattern ]] && printf '%s' "${BASH_REMATCH[1]}"
}

id=0
ask() { # METHOD PARAMS: writes a request
  id=$((id + 1))
  printf '{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}\n' "$id" "$1" "$2" >&"$to"
}

answer() { # reads to the answer of the last request; what is told before it is passed over
  local line
  while IFS= read -r line <&"$from"; do
    [[ $line == '{"jsonrpc":"2.0","id":'"$id"',"result":'* ]] && return
    if [[ $line == '{"jsonrpc":"2.0","id":'"$id"',"error":'* ]]; then
      printf 'coproc.sh: %b\n' "$(field "$line" message)" >&2
      exit 125
    fi
  done
  echo "coproc.sh: the sidecar has ended" >&2
  exit 125
}

[ $# -eq 1 ] || { echo "usage: coproc.sh COMMAND" >&2; exit 2; }

coproc SIDECAR { exec "${TURNLANE_BIN:-turnlane}" stdio; }
from=${SIDECAR[0]} to=${SIDECAR[1]} sidecar=$SIDECAR_PID

ask initialize '{"protocolVersion":1,"clientInfo":{"name":"coproc.sh"}}'
answer
session="coproc-$$-$RANDOM"
ask session/open "{\"sessionId\":\"$session\",\"agent\":\"sh\"}"
answer
ask prompt "{\"sessionId\":\"$session\",\"runId\":\"$session\",\"prompt\":$(quote "$1")}"
answer

status=125
while IFS= read -r line <&"$from"; do
  case $line in
    '{"jsonrpc":"2.0","method":"run/output",'*)
      if bytes=$(field "$line" base64); then # what is not UTF-8
        base64 -d <<<"$bytes"
      elif text=$(field "$line" text && printf .); then
        text=${text%.}
        printf '%b' "${text//\\\"/\"}"
      fi ;;
    '{"jsonrpc":"2.0","method":"run/completed",'*)
      outcome=$(field "$line" outcome)
      case $outcome in
        cancelled) status=130 ;;
        timedOut) status=124 ;;
        *) status=$(number "$line" exitCode) || case $outcome in completed) status=0 ;; failed) status=1 ;; *) status=125 ;; esac ;;
      esac
      printf 'coproc.sh: %s\n' "$outcome" >&2
      break ;;
  esac
done

# Closing its input is our leave; it ends when nobody else is there. What it still says is read, so that it is not kept waiting.
ask session/close "{\"sessionId\":\"$session\"}"
answer
exec {to}>&-
cat <&"$from" >/dev/null || true
wait "$sidecar" || true
exit "$status"
