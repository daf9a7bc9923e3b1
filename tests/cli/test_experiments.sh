#!/bin/bash
# Every sweep in experiments/ plans: each setting's and test's configuration is accepted, and nothing is missing
# but videos, weights and vocabulary. Runs that sweeps share are the same in both. TAP.
. "$(dirname "$0")/tap.bash"
export XDG_CACHE_HOME=$dir

sweeps=("$here"/experiments/*/{full,mini}*.yaml)
for i in "${!sweeps[@]}"; do [ -e "${sweeps[$i]}" ] || unset "sweeps[$i]"; done
sizes="32_8 xclip_b32 32_16 xclip_b32_16 16_8 xclip 16_16 xclip_16 14_8 xclip_l14 14_16_336 xclip_l14_336_16"
echo "1..$((2 * ${#sweeps[@]} + 10))"

# With data and weights there, a plan misses nothing.
plans() {
    local status=0
    "$program" sweep "$1" --dry-run >out.log 2>err.log || status=$?
    cat out.log err.log
    grep -Eq '(^|: )[1-9][0-9]* runs, 0 of them done' err.log || return 1
    [ "$(grep -c '^crossframe: ' err.log)" = "$status" ] && [ ! -e build ] || return 1
    [ $status = 0 ] || { grep -q '^crossframe: nothing is started: ' err.log && grep -q '^missing ' err.log; } || return 1
    ! grep '^missing ' err.log | grep -Ev '^missing  (DATA\.(TRAIN_FILE|VAL_FILE|ROOT|LABEL_LIST)|MODEL\.(PRETRAINED|BPE))[ :]'
}
names_command() { grep -qF "crossframe sweep experiments/$1" "$here/experiments/${1%%/*}/README.md"; }
for f in "${sweeps[@]}"; do
    name=${f#"$here"/experiments/}
    check "$name plans" plans "$f"
    check "README.md beside it has its command" names_command "$name"
done

readmes() {
    local folder
    for folder in "$here"/experiments/*/; do
        folder=$(basename "$folder")
        [ -s "$here/experiments/$folder/README.md" ] && grep -qF "]($folder/README.md)" "$here/experiments/README.md" &&
            for part in '# ' '**Question.**' '## The paper' '## Full size' '## Miniature'; do
                grep -qF -- "$part" "$here/experiments/$folder/README.md" || { echo "$folder: $part" && return 1; }
            done || { echo "$folder" && return 1; }
    done
}
check "every folder has a README with its parts, and a row in the table" readmes

# settings FILE: "RUNS NAME OPTS" of each, OPTS without braces
settings() {
    awk '
        function flush() { if (name) print runs, name, opts; name = opts = "" }
        /^OUTPUT:/ { if (!runs) runs = $2 "/runs" }
        /^RUNS:/ { runs = $2 }
        /^TESTS:/ { exit }
        /^  - .*NAME:/ { flush(); name = $0; sub(/.*NAME: */, "", name); sub(/[ ,}].*/, "", name) }
        /^    OPTS:/ { inside = 1 }
        inside { line = $0; sub(/^ *(OPTS:)? */, "", line); opts = opts (opts ? " " : "") line; if (/}/) inside = 0 }
        /^    SHOTS:/ { opts = opts $0 }
        END { flush() }' "$1" | tr -d '{}'
}
shared() {
    local f
    for f in "${sweeps[@]}"; do settings "$f" | sed "s|^|$(grep '^CONFIG:' "$f" | cut -d' ' -f2) |"; done | sort -u >all.txt
    [ -s all.txt ] && [ "$(grep -c 'full/k400 xclip ' all.txt)" = 1 ] || return 1
    cut -d' ' -f2,3 all.txt | sort | uniq -d | tee /dev/stderr | { ! grep -q .; }
}
check "a run of one name in one folder is the same in every sweep" shared

# The sizes of the table of Kinetics-400 are those of configs/k400, but for when and how is tested.
published() {
    local opts
    opts=$(settings "$here/experiments/kinetics/full.yaml" | sed -n "s|^[^ ]* $2 ||p" | sed 's/://g; s/,//g')
    # shellcheck disable=SC2086
    "$program" config -c "$here/configs/ablation/k400.yaml" --diff "$here/configs/k400/$1.yaml" \
        ${opts:+--opts $opts} >diff.log 2>err.log || { cat err.log && return 1; }
    cat diff.log
    grep -q '^TEST.NUM_CLIP' diff.log && ! grep '^[A-Z]' diff.log | grep -v '^TEST\.'
}
set -- $sizes
while [ $# -gt 0 ]; do
    check "$2 is configs/k400/$1.yaml" published "$1" "$2"
    shift 2
done

broken() {
    sed 's/MODEL.PROMPT: none/MODEL.PROMT: none/' "$here/experiments/components/full.yaml" >broken.yaml &&
        sed -i "s|^CONFIG: ../..|CONFIG: $here|" broken.yaml && ! plans broken.yaml && grep -q MODEL.PROMPT err.log
}
check "a misspelt key would be found" broken
unwritten() {
    sed -i 's/MODEL.PROMT: none/DATA.NUM_FRAMES: none/' broken.yaml && ! plans broken.yaml && grep -q DATA.NUM_FRAMES err.log
}
check "so would a wrong value" unwritten
exit $failed
