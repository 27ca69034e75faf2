#!/usr/bin/env bash
# Are the latents used? The same encoder and WaveNet with units and with Gaussian latents, several seeds each, side by
# side: bits per sample under true, shuffled and zero latents, and the KL, against training time. About an hour on
# two CPU cores.
#
#   bash recipes/collapse/run.sh
#
# Three kinds of latents: units; Gaussian ones (a standard VAE, KL weight 1); Gaussian ones whose KL weight rises from
# zero over as much of the budget as the quantiser of model=small lies idle at the beginning.
#
# --encoder NAME       raw: strided convolutions on the waveform, 250 latents per second, as in the paper;
#                      filterbank: a learned filterbank, which hears speech from the first step on, 50    (raw)
# --data DIR           a prepared corpus; without it, synthetic speech
# --work DIR           everything is written here                    (work/collapse)
# --minutes N          training of each model                        (6)
# --seeds N            models of each kind                           (3)
# --speakers N         synthetic voices                              (24)
# --utterances N       sentences of each                             (60)
# --from STAGE         redo this stage and those after it
# --set KEY=VALUE      further settings for `audio-vq train`, as often as wanted
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data="" work=work/collapse encoder=raw minutes=6 seeds=3 speakers=24 utterances=60 from="" settings=()

source "$here/../stages.sh"
parse_options "encoder data work minutes seeds speakers utterances from set" "$@"
[ -z "$data" ] || [ -d "$data" ] || { echo "--data $data: no such folder" >&2; exit 2; }
[[ $seeds =~ ^[1-9][0-9]*$ ]] || { echo "--seeds $seeds: expected a number from 1" >&2; exit 2; }

# the paper's decoder, over the waveform itself: nothing but latents and speaker tells it what to say
decoder_settings=(
  model.pitch=0 model.encoder.centred=false model.quantizer.groups=1 model.wavenet.bands=1 model.wavenet.layers=10
  model.wavenet.dilation_cycle=10 model.wavenet.residual_channels=32 model.wavenet.skip_channels=64
  model.wavenet.conditioning_channels=0 model.wavenet.spectrum_weight=0 model.wavenet.pitch_taps=0
  model.quantizer.continuous_share=0.2 train.warp=0 train.equaliser_db=0
  train.batch_size=4 train.crop_length=10240 train.spoken_length=0 train.optimizer=adam)
case $encoder in
  raw) encoder_settings=(
    model.encoder.filterbank=0 "model.encoder.strides=[4,4,4]" train.learning_rate=2e-3) ;;
  filterbank) encoder_settings=(
    "model.encoder.strides=[2]" train.encoder_rate_scale=0.2 train.filterbank_rate_scale=0.01 train.learning_rate=5e-3) ;;
  *) echo "--encoder $encoder: expected raw or filterbank" >&2; exit 2 ;;
esac

kinds=(quantized gaussian annealed)
declare -A model=(
  [quantized]="model.bottleneck=quantized"
  [gaussian]="model.bottleneck=gaussian"
  [annealed]="model.bottleneck=gaussian model.gaussian.anneal_share=0.2"
)
stages=(prepare) runs=()
for ((seed = 0; seed < seeds; seed++)); do
  for kind in "${kinds[@]}"; do stages+=("$kind-$seed") runs+=("$work/$kind-$seed"); done
done

begin "${stages[@]}" compare
source "$here/../environment.sh" synthetic

if [ -z "$data" ]; then
  data=$work/corpus
  stage prepare "$data" audio-vq prepare synthetic "$data" --speakers "$speakers" --utterances "$utterances"
fi
for ((seed = 0; seed < seeds; seed++)); do
  for kind in "${kinds[@]}"; do
    run=$work/$kind-$seed
    # shellcheck disable=SC2086 - one setting per word
    stage --continues "$kind-$seed" "$run" \
      audio-vq train data="$data" run="$run" model=small "${decoder_settings[@]}" "${encoder_settings[@]}" ${model[$kind]} seed="$seed" \
      train.minutes="$minutes" train.validations=16 "${settings[@]}"
  done
done
stage compare "$work/comparison" python "$here/compare.py" "${runs[@]}" --out "$work/comparison"

cat <<END

look     $work/comparison/collapse.png (also .svg)
numbers  $work/comparison/collapse.json, collapse.md; RUN/metrics.jsonl
END
