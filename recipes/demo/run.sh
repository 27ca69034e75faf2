#!/usr/bin/env bash
# The whole system on synthetic speech, in some 20 minutes on two CPU cores, installation included.
#
#   bash recipes/demo/run.sh
#
# --work DIR           everything is written here                    (work/demo)
# --minutes N          training of the VQ-VAE                        (11)
# --prior-minutes N    training of the prior                         (1.5)
# --speakers N         synthetic voices, the last four kept for test (24)
# --utterances N       sentences of each                             (60)
# --from STAGE         redo this stage and those after it
# --set KEY=VALUE      further settings for `audio-vq train`, as often as wanted
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=work/demo minutes=11 prior_minutes=1.5 speakers=24 utterances=60 from="" settings=()

source "$here/../stages.sh"
parse_options "work minutes prior-minutes speakers utterances from set" "$@"

begin prepare train held_out convert train_prior sample analyze
source "$here/../environment.sh" synthetic,align

run=$work/small prior=$work/prior
kept=$(for n in 3 2 1 0; do printf 'p%d,' $((900 + speakers - n)); done)
[ "$speakers" -ge 6 ] || kept="" # too few to keep any
stage prepare "$work/corpus" audio-vq prepare synthetic "$work/corpus" \
  --speakers "$speakers" --utterances "$utterances" ${kept:+--test-speakers "$kept"}
stage --continues train "$run" \
  audio-vq train data="$work/corpus" run="$run" model=small train.minutes="$minutes" "${settings[@]}"
stage held_out "$work/held_out" python "$here/../held_out.py" "$work/corpus" "$work/held_out" --count 2
targets=$(audio-vq info "$run" --json | python -c 'import json, sys; print(*json.load(sys.stdin)["speakers"][:5])')
stage convert "$work/converted" \
  audio-vq convert "$run" "$work/held_out" --to ${targets// / --to } --out "$work/converted" --force
stage train_prior "$prior" \
  audio-vq train-prior model="$run" data="$work/corpus" run="$prior" train.minutes="$prior_minutes"
stage sample "$work/samples" \
  audio-vq sample "$prior" "$run" --speaker "${targets%% *}" --seconds 3 --count 4 --out "$work/samples" --force
stage analyze "$work/report" \
  audio-vq analyze "$run" "$work/corpus" --alignments "$work/corpus/alignments" --prior "$prior" \
  --out "$work/report" --force

cat <<END

This is synthetic speech (espeak-ng voices); recipes/vctk/run.sh does the same with real recordings.
listen   $work/held_out (recordings), $work/converted (other voices), $work/samples (from the prior)
look     $work/report/report.html
numbers  $run/metrics.jsonl, $work/report/metrics.json
END
