#!/usr/bin/env bash
# Restocking by sight: weights of the finder, demonstrations, a clone that sees and one that doesn't, and how both do in
# scenes nobody learned from. Everything lies in LWD_HOME.
set -euo pipefail
DEMONSTRATIONS=${DEMONSTRATIONS:-200} UPDATES=${UPDATES:-2500} SCENES=${SCENES:-50} PURPOSE=${PURPOSE:-evaluation}
WORK=$(mktemp -d)
trap 'rm -r "$WORK"' EXIT

eyes() { # a command of the fleet for the robot that looks
  local command=$1
  shift
  lwd fleet "$command" "$@" --robot sawyer-eyes --task restock --camera-size 128
}

python -m goods_finder
eyes demonstrate --per-task "$DEMONSTRATIONS" --robots 4 --cameras 4 --camera-hz 16 --words train
lwd ingest
lwd features build goods-finder --height 128 --width 128
# what stands about does not move: a tick between two pictures is learned from with the last one
cat > "$WORK/set.yaml" <<END
{name: restock, tasks: [restock], sources: [demonstration], chunk: 5, cameras: [scene], frame_age_ms: 50}
END
SNAPSHOT=$(lwd snapshot build "$WORK/set.yaml")
SEES="{backbone: order-reader, vision: {cameras: [scene], height: 128, width: 128, pretrained: goods-finder}}"
for run in "sees $SEES" "blind {}"; do
  cat > "$WORK/run.yaml" <<END
{run: restock-${run%% *}, stage: sft, offline: $SNAPSHOT, updates: $UPDATES, network: ${run#* }}
END
  lwd train "$WORK/run.yaml"
  POLICY=$(lwd run policy "restock-${run%% *}")
  for words in train unseen wrong; do
    echo "restock-${run%% *}, words: $words"
    eyes evaluate "$POLICY" --scenes "$SCENES" --purpose "$PURPOSE" --words "$words"
  done
done
