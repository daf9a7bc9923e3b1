#!/bin/bash
# crossframe config from outside: what it prints loads back, origins, differences, the table of keys and
# docs/configuration.md; the published spellings of train's options. TAP.
. "$(dirname "$0")/tap.bash"

tests=18
echo "1..$tests"
config() { "$program" config "$@"; }
has() { tee /dev/stderr <"$1" | grep -qF -- "$2"; }

# As the published files: four spaces, quotes, no newline at the end; one that users write on top of it.
mkdir -p configs/k400 labels
printf "DATA:\n    ROOT: '/PATH/TO/videos'\n    TRAIN_FILE: '/PATH/TO/train.txt'\n    VAL_FILE: '/PATH/TO/val.txt'
    DATASET: hmdb51\n    NUM_FRAMES: 32\n    NUM_CLASSES: 51\n    LABEL_LIST: 'labels/hmdb_51_labels.csv'
MODEL:\n    ARCH: ViT-B/16\nTRAIN:\n    BATCH_SIZE: 4\n    ACCUMULATION_STEPS: 2\n    EPOCHS: 50\n    LR: 2.e-6" \
    >configs/k400/a.yaml
cat >own.yaml <<'Y'
BASE: ['configs/k400/a.yaml']
OUTPUT: runs/own   # a comment
AUG:
TEST: {NUM_CLIP: 4, NUM_CROP: 3, ONLY_TEST: False}
TRAIN:
  LR_SCHEDULER: 'cosine'
  OPTIMIZER: 'adamw'
  OPT_LEVEL: 'O1'
  WEIGHT_DECAY: 1e-3
  AUTO_RESUME: false
MODEL: {PRETRAINED: None, RESUME: 'None', DROP_PATH_RATE: 0.}
LOCAL_RANK: 0
Y

loads_back() {
    config -c own.yaml --opts SEED=7 TRAIN.LR 1e-5 >one.yaml 2>err.log || return 1
    config -c one.yaml >two.yaml 2>err.log || return 1
    diff <(sed 's/ *# .*//' one.yaml) <(sed 's/ *# .*//' two.yaml) && [ "$(grep -c . one.yaml)" -gt 60 ]
}
check "what it prints loads back" loads_back
origins() {
    grep -Eq '^  LR: 1.0e-05 +# --opts$' one.yaml && grep -Eq '^SEED: 7 +# --opts$' one.yaml &&
        grep -Eq '^  NUM_CLIP: 4 +# own.yaml:4$' one.yaml && grep -Eq '^  CUTMIX: 1.0 +# default$' one.yaml &&
        grep -Eq '^  EPOCHS: 50 +# configs/k400/a.yaml:14$' one.yaml
}
check "each value has its origin" origins
aligned() { [ "$(grep '# default' one.yaml | sed 's/#.*//' | awk '{print length}' | sort -u | wc -l)" = 1 ]; }
check "comments stand in one column" aligned
changed() {
    config -c own.yaml --changed >changed.yaml 2>/dev/null && config -c changed.yaml >two.yaml 2>/dev/null &&
        config -c own.yaml 2>/dev/null | sed 's/ *# .*//' | diff - <(sed 's/ *# .*//' two.yaml) &&
        ! grep -q 'WEIGHT_DECAY\|AUTO_RESUME\|default' changed.yaml && grep -q 'NUM_FRAMES: 32' changed.yaml
}
check "--changed has what is not the default, and makes the same" changed
difference() {
    config -c own.yaml --diff configs/k400/a.yaml --opts TRAIN.LR=1e-5 >diff.log 2>/dev/null
    diff diff.log - <<'D'
TRAIN.LR
  - 1.0e-05  # --opts
  + 2.0e-06  # configs/k400/a.yaml:15
TEST.NUM_CLIP
  - 4  # own.yaml:4
  + 1  # default
TEST.NUM_CROP
  - 3  # own.yaml:4
  + 1  # default
OUTPUT
  - 'runs/own'  # own.yaml:2
  + ''          # default
D
}
check "--diff tells both values and origins" difference
global_batch() {
    config -c own.yaml --opts TRAIN.GLOBAL_BATCH 64 TRAIN.BATCH_SIZE 16 >out.log 2>err.log &&
        grep -Eq 'ACCUMULATION_STEPS: 4 +# GLOBAL_BATCH / BATCH_SIZE' out.log && has err.log 'gives way to 4'
}
check "GLOBAL_BATCH derives the accumulation" global_batch
contradiction() {
    complains 1 'does not divide TRAIN.GLOBAL_BATCH 64; these do: 1, 2, 4, 8, 16, 32, 64 (--opts)' \
        config -c own.yaml --opts TRAIN.GLOBAL_BATCH=64 TRAIN.BATCH_SIZE=6 && has out.log 'BATCH_SIZE: 6'
}
check "a contradiction is told after the print" contradiction

documented() {
    diff <(sed '1,/^Made by/d' "$here/docs/configuration.md" | sed '1,/^$/d') <(config --keys --markdown)
}
check "docs/configuration.md has the program's keys (make docs)" documented
prefix() {
    config --keys aug. >out.log && [ "$(grep -c '^AUG\.' out.log)" = "$(grep -c '^[A-Z]' out.log)" ] &&
        has out.log 'AUG.FLIP'
}
check "--keys PREFIX" prefix
check "--keys of none" complains 1 "no key starts with TRIAN" config --keys TRIAN
check "wrong calls" complains 2 "-c CONFIG is missing" config --changed
printf 'TRAIN:\n  EPOCHS: 1\n  EPOCH: 2\n' >unknown.yaml
check "an unknown key of a file" complains 1 \
    "unknown key TRAIN.EPOCH; the nearest is TRAIN.EPOCHS (unknown.yaml:3)" config -c unknown.yaml
check "an unknown key of --opts" complains 1 "unknown key TRAIN.BATCHSIZE; the nearest is TRAIN.BATCH_SIZE (--opts)" \
    config -c own.yaml --opts TRAIN.LR 1 TRAIN.BATCHSIZE 2
check "an unknown key=value of --opts" complains 1 "unknown key LRR; the nearest is TRAIN.LR (--opts)" \
    config -c own.yaml --opts LRR=1

# The published spellings, as far as the videos that are not there.
spellings() {
    complains 1 "there is nothing to test" train -cfg own.yaml --only_test --output x --batch-size 2 \
        --accumulation-steps 2 --resume r --pretrained p --local_rank=0 --opts DATA.VAL_FILE "''" &&
        has err.log "--local-rank 0 has no effect"
}
check "published spellings" spellings
check "a launcher's other processes are refused" complains 1 "a run is one process" \
    train --config own.yaml --local_rank 3
lists() {
    printf 'a b 0\n' >v.txt
    complains 1 "" train -c configs/k400/a.yaml --only-test --opts DATA.ROOT . DATA.VAL_FILE v.txt
    has err.log "DATA.LABEL_LIST labels/hmdb_51_labels.csv: $here/configs/labels/hmdb51.csv is read"
}
touch "a b"
check "the shipped list of the published name" lists
installed() {
    mkdir -p p/bin p/share/crossframe/labels && cp "$program" p/bin/ && cp "$here/configs/labels/hmdb51.csv" p/share/crossframe/labels/
    p/bin/crossframe train -c configs/k400/a.yaml --only-test --opts DATA.ROOT . DATA.VAL_FILE v.txt 2>err.log
    has err.log "p/share/crossframe/labels/hmdb51.csv is read"
}
check "and of an installed program" installed
exit $failed
