#!/bin/bash
# crossframe sweep from outside: the table of settings x seeds, what is done is not made again, a run repeated by
# hand gives its number, bad files get one clear line. TAP.
. "$(dirname "$0")/tap.bash"

"$program" motion --out data --train-videos 600 --test-trajectories 12 --stills 34 --test-stills 34 >motion.log 2>&1 ||
    { echo "1..1" && echo "ok 1 - sweeps # SKIP the pictures of crossframe motion are not there" && exit 0; }
echo "1..5"
printf 'id,name\n0,a t-shirt moving left\n1,a bag growing\n2,a sneaker moving up\n' >three.csv
printf 'id,name\n0,moving\n1,growing\n2,moving\n' >groups.csv
"$program" splits pack --source data/train.h5 --labels three.csv --out data >/dev/null 2>&1
cat >c.yaml <<YAML
DATA: {TRAIN_FILE: data/three.txt, ROOT: data/train.h5, VAL_FILE: data/three.txt, LABEL_LIST: three.csv, NUM_CLASSES: 3,
  NUM_FRAMES: 4, INPUT_SIZE: 40, WORKERS: 1}
MODEL: {ARCH: custom, PATCH_SIZE: 20, VISION_WIDTH: 64, VISION_LAYERS: 1, EMBED_DIM: 64, TEXT_WIDTH: 64,
  TEXT_LAYERS: 1, CONTEXT_LENGTH: 32, BPE: data/merges.txt, PRETRAINED: scratch}
TRAIN: {EPOCHS: 2, WARMUP_EPOCHS: 0, BATCH_SIZE: 3, LR: 1.e-3}
YAML
cat >s.yaml <<YAML
TITLE: A table
CONFIG: c.yaml
OUTPUT: out
SEEDS: [1, 3]
METRICS: [top1, kind]
GROUPS: {kind: groups.csv}
PAPER: nothing published
SETTINGS:
  - {NAME: plain, LABEL: As it is, PAPER: {top1: 80.0}}
  - {NAME: noprompt, OPTS: {MODEL.PROMPT: none}}
YAML

table() {
    "$program" sweep s.yaml >table.md 2>err.log || { cat err.log; return 1; }
    cat table.md err.log
    cmp table.md out/table.md && grep -q '^| As it is | .* ± .* | .* ± .* | 2 | 80.0 |$' table.md &&
        [ "$(wc -l <out/runs.csv)" = 5 ] && [ "$(wc -l <out/table.csv)" = 5 ] && grep -q '^\[4/4\] noprompt seed 3: top-1' err.log
}
check "four runs and their table" table
again() {
    "$program" sweep s.yaml >again.md 2>err.log && cmp table.md again.md && ! grep -q begins err.log
}
check "what is done is not made again" again
alone() {
    local want
    want=$(grep '^noprompt,,3,' out/runs.csv | cut -d, -f4)
    "$program" train -c out/runs/noprompt/seed3/given.yaml --output alone >train.log 2>&1 &&
        "$program" test -c alone/config.yaml --resume alone/last.safetensors >test.log 2>&1
    cat test.log
    grep -qF "top-1 $(printf %.2f "$want") %" test.log
}
check "a run repeated by train and test gives its number" alone
check "another configuration is refused by key" complains 1 \
    "out/runs/plain/seed1/given.yaml is of another configuration: it says TRAIN.LR 0.001, not 0.002" \
    sweep s.yaml --opts TRAIN.LR 2.e-3
check "no file" complains 2 "FILE.yaml" sweep
exit $failed
