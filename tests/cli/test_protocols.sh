#!/bin/bash
# crossframe fewshot and zeroshot from outside: a killed protocol goes on to the same table, each result can be
# had by plain train and test, wrong calls get one clear line. TAP.
. "$(dirname "$0")/tap.bash"
. "$here/tests/cli/tiny.bash"

tiny protocols 3 14

lists() {
    rm data/three.txt
    "$program" splits pack --source data/train.h5 --labels three.csv --out data && grep -q ' 2$' data/three.txt &&
        "$program" splits pack --source data/train.h5 --labels set1.csv --out . && [ -s set1.txt ]
}
check "splits pack lists the videos of some classes" lists
fewshot() { "$program" fewshot -c c.yaml --shots 1,2 --seeds 2 "$@" 2>err.log; }
dry_run() { fewshot --output dry --dry-run && grep -q 'k02_seed2, 6 videos' err.log && [ ! -e dry ]; }
check "--dry-run tells the runs and writes nothing" dry_run
whole() {
    fewshot --output whole >whole.md && cmp whole.md whole/table.md && grep -q '^| 2 | .* ± .* | 2 |' whole.md &&
        [ "$(wc -l <whole/runs.csv)" = 5 ]
}
check "four runs and a table" whole
# Killed at growing delays until it lives to the end.
killed() {
    local delay
    for delay in 0.03 0.06 0.1 0.15 0.2 0.3 0.5; do
        timeout -s KILL $delay "$program" fewshot -c c.yaml --shots 1,2 --seeds 2 --output parts >/dev/null 2>&1
    done
    fewshot --output parts >parts.md && cmp whole.md parts.md && cmp whole/runs.csv parts/runs.csv
}
check "killed many times it ends with the same table" killed
again() { fewshot --output whole >again.md && cmp whole.md again.md && [ "$(grep -c ': done' err.log)" = 4 ]; }
check "what is done is not made again" again
alone() {
    local want
    want=$(grep '^k02_seed2,' whole/runs.csv | cut -d, -f4)
    "$program" train -c whole/k02_seed2/config.yaml --output alone >train.log 2>&1 &&
        "$program" test -c alone/config.yaml --resume alone/last.safetensors >test.log 2>&1
    cat test.log
    grep -qF "top-1 $(printf %.2f "$want") %" test.log
}
check "a run repeated by train and test gives its number" alone
check "another configuration is refused by key" complains 1 "TRAIN.LR 0.001, not 0.002" \
    fewshot -c c.yaml --shots 1 --output whole --opts TRAIN.LR 2.e-3
check "too few videos" complains 1 "500 are wanted" fewshot -c c.yaml --shots 500 --output none
check "no list of shots" complains 2 "--shots takes" fewshot -c c.yaml --shots 2,x --output none
check "no configuration" complains 2 "-c CONFIG is missing" fewshot --shots 2

zeroshot() { "$program" zeroshot -c c.yaml --resume whole/k02_seed1/last.safetensors "$@" 2>err.log; }
sets() {
    zeroshot --output zero all=data/three.txt,three.csv set1.txt >zero.md || { cat err.log; return 1; }
    cat zero.md
    cmp zero.md zero/table.md && grep -q '^| all | .* | 3 | 3 |$' zero.md && grep -q '^| set1 | .* | 2 | 1 |$' zero.md &&
        grep -q '(n = 2) | .* ± ' zero.md && [ -s zero/set1/test.h5 ]
}
check "sets with classes of their own, and how many were trained on" sets
resumed() { zeroshot --output zero all=data/three.txt,three.csv set1.txt >zero2.md && cmp zero.md zero2.md &&
    [ "$(grep -c ': done' err.log)" = 2 ]; }
check "sets that are done are not tested again" resumed
check "no weights" complains 1 "there are no weights to test" zeroshot -c c.yaml --output none --opts MODEL.PRETRAINED "''" -- set1.txt
check "a set that is not there" complains 1 "nothing.txt" zeroshot -c c.yaml --resume whole/k02_seed1/last.safetensors \
    --output none nothing.txt
exit $failed
