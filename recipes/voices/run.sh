#!/usr/bin/env bash
# The model that comes with the package: its recordings, training, prior and judgement, and a copy for the wheel.
#
#   bash recipes/voices/run.sh --data shared/data --minutes 60
#
# --data DIR           holds the folders voices/ (with a manifest.csv) and vctk_mini/ (VCTK's layout), or one of them
# --work DIR           everything is written here                                       (work/voices)
# --model NAME         preset                                                           (small)
# --minutes N          training of the VQ-VAE; the same call with more goes on          (60)
# --prior-minutes N    training of the prior                                            (20)
# --init MODEL         begin with the weights of a model, for instance of the shipped `voices`
# --pairs N            conversions that are judged                                      (60)
# --ship DIR           copy of model and prior for the wheel, e.g. audio_vq/pretrained_models
# --from STAGE         redo this stage and those after it
# --set KEY=VALUE      further settings for `audio-vq train`, as often as wanted
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data="" work=work/voices model=small minutes=60 prior_minutes=20 init="" pairs=60 ship="" from="" settings=()

source "$here/../stages.sh"
parse_options "data work model minutes prior-minutes init pairs ship from set" "$@"
[ -d "$data" ] || { echo "--data ${data:-missing}: expected a folder with voices/ or vctk_mini/" >&2; exit 2; }

begin list prepare train train_prior evaluate ship
source "$here/../environment.sh" judges

list() {
  local folders=()
  for folder in "$data/voices" "$data/vctk_mini"; do [ ! -d "$folder" ] || folders+=("$folder"); done
  python "$here/manifest.py" "${folders[@]}" >"$1"
}

run=$work/$model prior=$work/$model-prior
stage list "$work/manifest.csv" list "$work/manifest.csv"
stage prepare "$work/corpus" audio-vq prepare folder "$data" "$work/corpus" --manifest "$work/manifest.csv"
stage --continues train "$run" audio-vq train data="$work/corpus" run="$run" model="$model" init="$init" \
  train.minutes="$minutes" "${settings[@]}"
stage train_prior "$prior" \
  audio-vq train-prior model="$run" data="$work/corpus" run="$prior" train.minutes="$prior_minutes"
stage evaluate "$work/judged" \
  audio-vq evaluate "$run" "$work/corpus" --pairs "$pairs" --out "$work/judged" --force
if [ -n "$ship" ]; then
  stage ship "$ship/voices" python "$here/ship.py" "$run" "$prior" "$ship"
fi

cat <<END

listen   $work/judged (conversions and the recordings they are of)
numbers  $run/metrics.jsonl, $work/judged/conversion.json
END
