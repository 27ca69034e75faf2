# Sourced by recipes: named stages, each with a log and a mark.
#
#   work=DIR; from=STAGE or empty; source stages.sh
#   stage NAME OUTPUT COMMAND…
#   stage --continues NAME OUTPUT COMMAND…     (a changed command goes on from OUTPUT instead of removing it: training)
#
# A stage whose mark holds exactly this command is skipped. A changed command, or --from, removes OUTPUT first; once a stage
# has run, those after it run too.

mkdir -p "$work/logs"
ran_before=no # whether a stage has run in this call

stage() {
  local continues=no name output mark log
  if [ "$1" = --continues ]; then continues=yes; shift; fi
  name=$1 output=$2
  shift 2
  mark=$work/logs/$name.done log=$work/logs/$name.log
  if [ "$name" = "$from" ]; then from="" again=yes; fi
  if [ "${again:-no}" = no ] && [ $ran_before = no ] && [ "$(cat "$mark" 2>/dev/null)" = "$*" ]; then
    echo "[$name] done before"
    return
  fi
  if [ "${again:-no}" = yes ] || { [ -e "$mark" ] && [ $continues = no ]; }; then rm -rf "$output"; fi
  rm -f "$mark"
  ran_before=yes
  echo "[$name] $*"
  local start=$SECONDS status=0
  "$@" > >(tee "$log") 2> >(tee -a "$log.err" >&2) || status=$?
  if [ $status -ne 0 ]; then
    echo "[$name] failed with exit code $status; log: $log, $log.err; the same command goes on from here" >&2
    exit $status
  fi
  echo "$*" >"$mark"
  echo "[$name] $((SECONDS - start)) s"
}

check_from() { # the stage named by --from must exist
  [ -z "$from" ] || [[ " $* " == *" $from "* ]] || {
    echo "--from $from: no such stage; expected one of $*" >&2
    exit 2
  }
}
