#!/usr/bin/env bash
# Units of your own language, from recordings alone: prepare, train, encode, prior, sample, and a report with an atlas of
# the units. No transcripts, no alignments. The guide is recipes/docs/pages/own-language.md.
#
#   bash recipes/own_language/run.sh recordings/
#
# The folder holds one folder per speaker, or one speaker's recordings alone.
#
# --work DIR           everything is written here                                      (work/own_language)
# --model NAME         small, or phones (one group of 50 units per second)             (small)
# --minutes N          training of the VQ-VAE; the same call with more goes on         (60)
# --init MODEL         whose weights training begins with, or none                     (voices for small, else none)
# --prior-minutes N    training of the prior                                           (10)
# --from STAGE         redo this stage and those after it
# --set KEY=VALUE      further settings for `audio-vq train`, as often as wanted
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=work/own_language model=small minutes=60 init="" prior_minutes=10 from="" settings=()

source "$here/../stages.sh"
recordings=""
if [ $# -gt 0 ] && [[ $1 != -* ]]; then recordings=$1; shift; fi
parse_options "work model minutes init prior-minutes from set" "$@"
[ -d "$recordings" ] || { echo "${recordings:-no folder given}: expected a folder of recordings" >&2; exit 2; }

# a decoder that can speak already needs minutes for new sounds, a fresh one needs hours to speak at all
[ -n "$init" ] || [ "$model" != small ] || init=voices
[ "$init" != none ] || init=""

begin prepare train encode train_prior sample analyze
source "$here/../environment.sh" synthetic

run=$work/$model prior=$work/$model-prior
stage prepare "$work/corpus" audio-vq prepare folder "$recordings" "$work/corpus"
stage --continues train "$run" audio-vq train data="$work/corpus" run="$run" model="$model" init="$init" \
  train.minutes="$minutes" "${settings[@]}"
stage encode "$work/units.jsonl" audio-vq encode "$run" "$work/corpus" --out "$work/units.jsonl" --force
stage train_prior "$prior" \
  audio-vq train-prior model="$run" data="$work/corpus" run="$prior" train.minutes="$prior_minutes"
speaker=$(audio-vq info "$run" --json | python -c 'import json, sys; print(json.load(sys.stdin)["speakers"][0])')
stage sample "$work/samples" \
  audio-vq sample "$prior" "$run" --speaker "$speaker" --seconds 3 --count 4 --out "$work/samples" --force
stage analyze "$work/report" audio-vq analyze "$run" "$work/corpus" --prior "$prior" --out "$work/report" --force

cat <<END

look     $work/report/report.html (every unit, with the stretches of speech that it stands for)
listen   $work/samples (from the prior; $speaker's voice)
numbers  $run/metrics.jsonl, $work/report/metrics.json
units    $work/units.jsonl
END
