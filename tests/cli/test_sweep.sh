#!/bin/bash
# crossframe sweep from outside: the table of settings x seeds, what is done is not made again, a run repeated by
# hand gives its number, killed and stopped it goes on to the same table, bad files get one clear line. TAP.
. "$(dirname "$0")/tap.bash"
. "$here/tests/cli/tiny.bash"

tiny sweeps 2 32
printf 'id,name\n0,moving\n1,growing\n2,moving\n' >groups.csv
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

# ---- tests of TESTS, shots, plots: the runs of `plain` are taken from the sweep above ----
cat >t.yaml <<YAML
CONFIG: c.yaml
OUTPUT: views
RUNS: out/runs
SEEDS: [1, 3]
SETTINGS: [{NAME: plain, PAPER: {twice: {top1: 44.6 ± 5.2}}}]
TESTS:
  - {NAME: one}
  - {NAME: twice, LABEL: 2 x 3 views, OPTS: {TEST.NUM_CLIP: 2, TEST.NUM_CROP: 3}}
  - {NAME: others, OPTS: {DATA.VAL_FILE: set1.txt, DATA.LABEL_LIST: set1.csv, DATA.NUM_CLASSES: 2}}
YAML
"$program" splits pack --source data/train.h5 --labels set1.csv --out . >/dev/null 2>&1
number() { awk -F, -v a="$1" -v b="$2" '$1 == a && $2 == b && $3 == 1 { print $4 }' "$3/runs.csv"; }
tested() { # NAME ARGUMENTS...: a test by hand gives the number of TESTS
    local name=$1
    shift
    "$program" test -c out/runs/plain/seed1/config.yaml --resume out/runs/plain/seed1/last.safetensors --opts "$@" 2>/dev/null |
        grep -F "top-1 $(printf %.2f "$(number plain "$name" views)") %"
}
views() {
    "$program" sweep t.yaml >views.md 2>err.log || { cat err.log; return 1; }
    cat views.md views/runs.csv
    [ "$(wc -l <views/runs.csv)" = 7 ] && grep -q '^| plain | 2 x 3 views | .* | 2 | 44.6 ± 5.2 |$' views.md &&
        [ "$(grep -c '"kind":"eval"' out/runs/plain/seed1/log.jsonl)" = 1 ] && tested one TEST.NUM_CLIP 1 &&
        tested twice TEST.NUM_CLIP 2 TEST.NUM_CROP 3 &&
        tested others DATA.VAL_FILE set1.txt DATA.LABEL_LIST set1.csv DATA.NUM_CLASSES 2
}
check "TESTS: a row for each, as tests by hand give them, of runs another sweep made" views
views_again() { "$program" sweep t.yaml >again.md 2>err.log && cmp views.md again.md && ! grep -q begins err.log; }
check "and they are not made again" views_again
sed 's/NUM_CLIP: 2/NUM_CLIP: 3/' t.yaml >t3.yaml
check "a test of another configuration is refused" complains 1 "says TEST.NUM_CLIP 2, not 3" sweep t3.yaml

cat >few.yaml <<YAML
TITLE: Few <shots> & more
CONFIG: c.yaml
OUTPUT: few
SEEDS: 2
METRICS: [top1, top5, mean_class]
SETTINGS:
  - {NAME: k1, SHOTS: 1}
  - {NAME: k2, SHOTS: 2, PAPER: {top1: 50}}
YAML
few() {
    "$program" sweep few.yaml --jobs 2 >few.md 2>err.log || { cat err.log; return 1; }
    "$program" fewshot -c c.yaml --shots 1,2 --seeds 2 --output byfewshot >/dev/null 2>&1
    for k in 1 2; do
        for seed in 1 2; do
            cmp few/runs/k$k/seed$seed/videos.txt byfewshot/k0${k}_seed$seed/train.txt || return 1
            grep "^k$k,,$seed,$(grep "^k0${k}_seed$seed," byfewshot/runs.csv | cut -d, -f4-5)," few/runs.csv || return 1
        done
    done
}
check "SHOTS: the draws and numbers of crossframe fewshot, two at a time" few
elsewhere() { "$program" sweep few.yaml --output "$PWD/few" >again.md 2>err.log || { cat err.log; return 1; }
    cmp few.md again.md && ! grep -q begins err.log; }
check "the same folder by another path" elsewhere
plots() {
    xmllint --noout out/plot.svg views/plot.svg few/plot.svg || return 1
    [ "$(grep -c 'paper' out/plot.svg)" -ge 2 ] && grep -qF 'Few &lt;shots&gt; &amp; more' few/plot.svg &&
        { "$program" report out/runs/plain/seed1 --png none.png 2>&1 | grep -q "without librsvg" || [ -s few/plot.png ]; }
}
if command -v xmllint >/dev/null; then check "plots" plots; else number=$((number + 1)); echo "ok $number - plots # SKIP no xmllint"; fi

# ---- killed, stopped, failing ----
runs_of() { pgrep -f "train -c $1/runs" | wc -l; }
killed() {
    local delay strays
    for delay in 0.1 0.3 0.5 0.7 0.9 1.2 1.6; do
        timeout -s KILL $delay "$program" sweep s.yaml --output parts >/dev/null 2>&1
    done
    sleep 0.2
    strays=$(runs_of parts)
    "$program" sweep s.yaml --output parts >parts.md 2>err.log || { cat err.log; return 1; }
    [ "$strays" = 0 ] && [ -e parts/runs/plain/seed1/given.yaml ] && cmp table.md parts.md && cmp out/table.csv parts/table.csv
}
check "killed at any moment: no process is left, and it ends with the same table" killed
stopped() {
    local status=0 sweep i
    sed 's/EPOCHS: 2/EPOCHS: 80/' c.yaml >long.yaml
    sed 's/c.yaml/long.yaml/; s/OUTPUT: out/OUTPUT: long/' s.yaml >l.yaml
    "$program" sweep l.yaml --only plain --output whole >/dev/null 2>&1
    "$program" sweep l.yaml --only plain >/dev/null 2>stop.log &
    sweep=$!
    for i in $(seq 200); do [ -s long/runs/plain/seed1/log.jsonl ] && break; sleep 0.05; done
    kill -TERM $sweep
    wait $sweep || status=$?
    cat stop.log
    [ "$status" = 130 ] && grep -q 'stopped; the same command goes on' stop.log && [ ! -e long/runs/plain/seed1/result.json ] &&
        grep -q 'stopped at epoch' long/runs/plain/seed1/train.txt && [ "$(runs_of long)" = 0 ] &&
        "$program" sweep l.yaml --only plain >/dev/null 2>&1 && cmp whole/table.csv long/table.csv
}
check "asked to stop, its run saves, and goes on to the same table" stopped
sed 's/MODEL.PROMPT: none/TRAIN.LR: 1.e6/; s/OUTPUT: out/OUTPUT: wild/' s.yaml >wild.yaml
fails() {
    complains 1 "2 of 4 runs failed" sweep wild.yaml && cat out.log && grep -q '^\[2/4\] noprompt seed 1 FAILED: .*wild/runs/noprompt/seed1/train.txt' err.log &&
        grep -q '^| As it is | .* | 2 | 80.0 |$' wild/table.md && grep -q '^| noprompt | - | - | 0 |  |$' wild/table.md &&
        grep -q '^noprompt,,top1,,,0,$' wild/table.csv
}
check "a run that fails is told with its log, the others are made" fails
in_use() {
    exec 8<out/runs/plain/seed1
    rm out/runs/plain/seed1/result.json
    flock 8
    complains 1 "1 of 4 runs failed" sweep s.yaml && grep -q 'seed1 is in use' err.log
    local status=$?
    exec 8<&-
    "$program" sweep s.yaml >again.md 2>/dev/null && cmp table.md again.md && return $status
}
check "a run that another process works on" in_use

# ---- what is refused, and before anything is started ----
other_videos() {
    cp data/three.txt three.bak && sed -i 1d data/three.txt
    complains 1 "is of other videos" sweep s.yaml
    local status=$?
    cp three.bak data/three.txt
    return $status
}
check "other videos under the same name" other_videos
mkdir -p foreign/plain && cp -r alone foreign/plain/seed1
foreign() { sed 's/^OUTPUT.*/&\nRUNS: foreign/' s.yaml >f.yaml; complains 1 "no sweep began" sweep f.yaml; }
check "somebody else's run" foreign
missing() {
    complains 1 "2 things are missing" sweep s.yaml --output nothing --opts DATA.TRAIN_FILE no.txt MODEL.PRETRAINED no.pt &&
        grep -q '^missing  DATA.TRAIN_FILE' err.log && grep -q '^missing  MODEL.PRETRAINED' err.log && [ ! -e nothing ]
}
check "all that is missing is told, and nothing started" missing
dry() { "$program" sweep s.yaml --output dry --dry-run 2>err.log && grep -q '2 runs of .* GFLOP' err.log && [ ! -e dry ]; }
check "--dry-run tells the cost and writes nothing" dry
only() {
    "$program" sweep s.yaml --output only --only noprompt 2>err.log >only.md && grep -q '^| noprompt | .* | 2 |' only.md &&
        grep -q '^| As it is | - | - | 0 |' only.md && [ ! -e only/runs/plain ]
}
check "--only" only
check "--only of no setting" complains 1 "no setting plian; did you mean plain?" sweep s.yaml --only plian
check "no file" complains 2 "FILE.yaml" sweep

# refused NAME MESSAGE LINES: appended to what every file has
refused() {
    local name=$1 message=$2
    printf 'CONFIG: c.yaml\nOUTPUT: bad\nSEEDS: 1\n%b\n' "$3" >bad.yaml
    check "$name" complains 1 "$message" sweep bad.yaml
}
refused "an unknown key" 'no key SETTING; did you mean SETTINGS? (bad.yaml:4)' 'SETTING: []'
refused "no settings" 'SETTINGS is empty (bad.yaml:4)' 'SETTINGS: []'
refused "a name twice" 'NAME a stands twice, first in line 5 (bad.yaml:6)' 'SETTINGS:\n- {NAME: a}\n- {NAME: a}'
refused "a name with a slash" 'NAME a/b is to be a folder' 'SETTINGS: [{NAME: a/b}]'
refused "an unknown metric" 'no metric top2; did you mean top1? (bad.yaml:4)' 'METRICS: [top2]\nSETTINGS: [{NAME: a}]'
refused "groups of other classes" 'set1.csv has 2 classes, the test has 3 (bad.yaml:5)' \
    'METRICS: [x]\nGROUPS: {x: set1.csv}\nSETTINGS: [{NAME: a}]'
refused "an unknown key of the configuration" 'unknown key MODEL.PROMT; the nearest is MODEL.PROMPT (bad.yaml:4)' \
    'SETTINGS: [{NAME: a, OPTS: {MODEL.PROMT: none}}]'
refused "a value it does not take" "not 'nothing' (bad.yaml:4)" 'SETTINGS: [{NAME: a, OPTS: {MODEL.PROMPT: nothing}}]'
refused "a key of the sweep's own" 'SEED is set by the sweep' 'SETTINGS: [{NAME: a, OPTS: {SEED: 2}}]'
refused "a figure of no known test" 'PAPER: no test tow; did you mean two?' \
    'TESTS: [{NAME: two}]\nSETTINGS: [{NAME: a, PAPER: {tow: {top1: 2}}}]'
refused "too few videos" '500 are wanted' 'SETTINGS: [{NAME: a, SHOTS: 500}]'
exit $failed
