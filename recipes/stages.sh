# Sourced by recipes: their options, and named stages, each with a log and a mark.
#
#   source stages.sh; parse_options "work minutes from …" "$@"; begin STAGE…
#   stage NAME OUTPUT COMMAND…
#   stage --continues NAME OUTPUT COMMAND…     (a changed command goes on from OUTPUT instead of removing it: training)
#
# A stage whose mark holds exactly this command is skipped. Once a stage has run, those after it run too. --from, a changed
# command, and a stage before it that ran, remove OUTPUT first.

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
  # what is not removed goes on where an interrupted call left it
  if [ "${again:-no}" = yes ]; then rm -rf "$output"; fi
  if [ $continues = no ] && { [ -e "$mark" ] || [ $ran_before = yes ]; }; then rm -rf "$output"; fi
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

parse_options() { # "--prior-minutes 3" sets $prior_minutes; --set adds to ${settings[@]}; the header is the help
  local known=" $1 " name
  shift
  while [ $# -gt 0 ]; do
    name=${1#--}
    if [ "$1" = -h ] || [ "$1" = --help ]; then
      sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"
      exit
    fi
    [[ $1 == --* && $known == *" $name "* ]] || { echo "unknown option $1; see --help" >&2; exit 2; }
    [ $# -ge 2 ] || { echo "$1 needs a value" >&2; exit 2; }
    if [ "$name" = set ]; then settings+=("$2"); else printf -v "${name//-/_}" %s "$2"; fi
    shift 2
  done
}

begin() { # the stages there are; the one named by --from must be among them
  [ -z "$from" ] || [[ " $* " == *" $from "* ]] || {
    echo "--from $from: no such stage; expected one of: $*" >&2
    exit 2
  }
  mkdir -p "$work/logs"
}
