#!/usr/bin/env bash
# Lists of the unseen pairs of the motion dataset, five draws, into FOLDER.
#   experiments/zeroshot/lists.sh PROGRAM FOLDER
# Draw d leaves out the 20 pairs with (kind + motion) mod 4 = d - 1, draw 5 those with (3 kind + motion) mod 4
# = 0: each kind lacks two motions, each motion two or three kinds, and none is unknown. Of each: seenD.txt and
# .csv (training videos of the other 60 pairs), unseenD.txt and .csv (test videos of the 20), allD.txt (these
# test videos under the numbers of all 80).
set -euo pipefail
program=$1 out=$2
data=build/demo/data
mkdir -p "$out"

for d in 1 2 3 4 5; do
    # Class number = 8 kind + motion.
    awk -F, -v d=$d -v seen="$out/seen$d.csv" -v unseen="$out/unseen$d.csv" '
        NR == 1 { print > seen; print > unseen; next }
        ((d < 5 ? 1 : 3) * int($1 / 8) + $1 % 8) % 4 == (d - 1) % 4 { print u++ + 0 "," $2 > unseen; next }
        { print s++ + 0 "," $2 > seen }' $data/labels.csv
    "$program" splits pack --source $data/train.h5 --labels "$out/seen$d.csv" --out "$out"
    "$program" splits pack --source $data/test.h5 --labels "$out/unseen$d.csv" --out "$out"
    awk -F, 'FILENAME == ARGV[1] { id[$2] = $1; next }
        FILENAME == ARGV[2] { old[$1] = id[$2]; next }
        { n = split($0, f, " "); print f[1], old[f[n]] }' \
        $data/labels.csv "$out/unseen$d.csv" "$out/unseen$d.txt" >"$out/all$d.txt"
done
