#!/usr/bin/env bash
# VCTK: prepare, align, train, convert, prior, sample, analyse.
#
#   bash recipes/vctk/run.sh --corpus VCTK-Corpus-0.92 --work work/vctk --model small --minutes 20 --prior-minutes 3
#
# --corpus DIR         VCTK 0.92 or 0.80; without it, 0.92 is downloaded (11 GB) into the work folder
# --work DIR           everything is written here                                       (work/vctk)
# --model NAME         small (two CPU cores), phones, base (one GPU), paper             (small)
# --minutes N          training of the VQ-VAE                                           (20)
# --prior-minutes N    training of the prior                                            (3)
# --from STAGE         redo this stage and those after it
# --set KEY=VALUE      further settings for `audio-vq train`, as often as wanted
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
corpus="" work=work/vctk model=small minutes=20 prior_minutes=3 from="" settings=()

source "$here/../stages.sh"
parse_options "corpus work model minutes prior-minutes from set" "$@"
[ -z "$corpus" ] || [ -d "$corpus" ] || { echo "--corpus $corpus: no such folder" >&2; exit 2; }

begin download prepare align train held_out convert train_prior sample analyze
source "$here/../environment.sh" synthetic,align

download() {
  curl --location --fail --continue-at - --output "$work/vctk.zip" \
    https://datashare.is.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip
  echo "f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c  $work/vctk.zip" | sha256sum --check
  python -m zipfile --extract "$work/vctk.zip" "$1"
}
if [ -z "$corpus" ]; then
  corpus=$work/download
  stage download "$corpus" download "$corpus"
fi

run=$work/$model prior=$work/$model-prior
stage prepare "$work/corpus" audio-vq prepare vctk "$corpus" "$work/corpus"
stage align "$work/alignments" audio-vq align "$work/corpus" "$work/alignments"
stage --continues train "$run" \
  audio-vq train data="$work/corpus" run="$run" model="$model" train.minutes="$minutes" "${settings[@]}"
stage held_out "$work/held_out" python "$here/../held_out.py" "$work/corpus" "$work/held_out" --count 2
targets=$(audio-vq info "$run" --json | python -c 'import json, sys; print(*json.load(sys.stdin)["speakers"][:5])')
stage convert "$work/converted" \
  audio-vq convert "$run" "$work/held_out" ${targets:+--to ${targets// / --to }} --out "$work/converted" --force
stage train_prior "$prior" \
  audio-vq train-prior model="$run" data="$work/corpus" run="$prior" train.minutes="$prior_minutes"
stage sample "$work/samples" \
  audio-vq sample "$prior" "$run" --speaker "${targets%% *}" --seconds 3 --count 4 --out "$work/samples" --force
stage analyze "$work/report" \
  audio-vq analyze "$run" "$work/corpus" --alignments "$work/alignments" --prior "$prior" --out "$work/report" --force

cat <<END

listen   $work/held_out (recordings), $work/converted (other voices), $work/samples (from the prior)
look     $work/report/report.html
numbers  $run/metrics.jsonl, $work/report/metrics.json
END
