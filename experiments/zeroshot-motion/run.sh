#!/usr/bin/env bash
# Zero-shot on unseen (kind, motion) pairs, three draws; after `make demo`.
#   experiments/zeroshot-motion/run.sh [PROGRAM]
# Draw d leaves out the 20 pairs with (kind + motion) mod 4 = d - 1: each kind lacks two motions, each
# motion two or three kinds, and none is unknown. Started again it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=${1:-build/release/crossframe}
config=experiments/zeroshot-motion/config.yaml
data=build/demo/data
out=build/experiments/zeroshot-motion
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

# zeroshot NAME CHECKPOINT LIST: the three draws
zeroshot() {
    "$program" zeroshot -c $config --resume "$2" --output "$out/$1" --opts DATA.ROOT $data/test.h5 -- \
        draw1="$lists/${3}1.txt" draw2="$lists/${3}2.txt" draw3="$lists/${3}3.txt"
}
zeroshot among-unseen "$out/{set}/last.safetensors" unseen
zeroshot among-all "$out/{set}/last.safetensors" all
# For comparison: the demonstration's models, one that saw all pairs in training, and one that cannot know order.
zeroshot trained-on-all build/demo/xclip/last.safetensors unseen
zeroshot trained-on-all-among-all build/demo/xclip/last.safetensors all
