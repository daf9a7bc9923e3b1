#!/usr/bin/env bash
# Zero-shot on unseen (kind, motion) pairs, three draws; after `make demo`.
#   experiments/zeroshot/run.sh [PROGRAM]
# Draw d leaves out the 20 pairs with (kind + motion) mod 4 = d - 1: each kind lacks two motions, each
# motion two or three kinds, and none is unknown. Started again it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=${1:-build/release/crossframe}
config=experiments/zeroshot/config.yaml
data=build/demo/data
out=build/experiments/zeroshot
lists=$out/lists
mkdir -p "$lists"

for d in 1 2 3; do
    # Class number = 8 kind + motion. What is written: seenD.csv and unseenD.csv, numbered anew.
    awk -F, -v d=$d -v seen="$lists/seen$d.csv" -v unseen="$lists/unseen$d.csv" '
        NR == 1 { print > seen; print > unseen; next }
        (int($1 / 8) + $1 % 8) % 4 == d - 1 { print u++ + 0 "," $2 > unseen; next }
        { print s++ + 0 "," $2 > seen }' $data/labels.csv
    "$program" splits pack --source $data/train.h5 --labels "$lists/seen$d.csv" --out "$lists"
    "$program" splits pack --source $data/test.h5 --labels "$lists/unseen$d.csv" --out "$lists"
    # The same test videos under the numbers of all 80 classes.
    awk -F, 'FILENAME == ARGV[1] { id[$2] = $1; next }
        FILENAME == ARGV[2] { old[$1] = id[$2]; next }
        { n = split($0, f, " "); print f[1], old[f[n]] }' \
        $data/labels.csv "$lists/unseen$d.csv" "$lists/unseen$d.txt" >"$lists/all$d.txt"
    "$program" train -c $config --output "$out/draw$d" --opts TRAIN.AUTO_RESUME True \
        DATA.TRAIN_FILE "$lists/seen$d.txt" DATA.LABEL_LIST "$lists/seen$d.csv"
done

# zeroshot NAME CONFIG CHECKPOINT LIST: the three draws
zeroshot() {
    "$program" zeroshot -c "$2" --resume "$3" --output "$out/$1" --opts DATA.ROOT $data/test.h5 -- \
        draw1="$lists/${4}1.txt" draw2="$lists/${4}2.txt" draw3="$lists/${4}3.txt"
}
# For comparison, the demonstration's models: X-CLIP trained on all pairs, CLIP-Mean trained on them, which cannot
# know the order of the frames, and the small CLIP that all start from.
for among in unseen all; do
    zeroshot xclip-60-pairs-among-$among $config "$out/{set}/last.safetensors" $among
    zeroshot xclip-80-pairs-among-$among $config build/demo/xclip/last.safetensors $among
    zeroshot clip-mean-80-pairs-among-$among configs/demo/clip_mean.yaml build/demo/clip_mean/last.safetensors $among
    zeroshot clip-stills-among-$among configs/demo/clip_mean.yaml build/demo/clip/last.safetensors $among
done
for among in unseen all; do
    for model in xclip-60-pairs xclip-80-pairs clip-mean-80-pairs clip-stills; do
        sed "1d; s/^/$model,$among,/" "$out/$model-among-$among/runs.csv"
    done
done | sed '1i model,among,draw,top1,top5,videos,missing,views,classes,classes_seen' >experiments/zeroshot/table.csv
