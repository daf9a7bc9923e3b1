#!/bin/bash
# crossframe convert and inspect from outside: wrong calls, each container, what is left behind. Needs no Python: the
# model is one that training wrote.
set -uo pipefail

folder=$(mktemp -d "${TMPDIR:-/tmp}/crossframe-test-XXXXXX")
trap 'rm -rf "$folder"' EXIT
n=0

# check NAME STATUS TEXT COMMAND...: exit status and a text on stdout or stderr
check() {
    local name=$1 want=$2 text=$3 out status=0
    shift 3
    n=$((n + 1))
    out=$("$CROSSFRAME" "$@" 2>&1) || status=$?
    if [ "$status" = "$want" ] && [[ $out == *"$text"* ]]; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        echo "# exit $status: $out" | head -5
    fi
}
# same NAME FILE FILE
same() {
    n=$((n + 1))
    if cmp -s "$2" "$3"; then echo "ok $n - $1"; else echo "not ok $n - $1"; fi
}

"$CROSSFRAME" motion --out "$folder/data" --train-videos 8 --test-trajectories 2 --stills 34 --test-stills 34 \
    >/dev/null 2>&1 || { echo "1..1" && echo "ok 1 - convert # SKIP the pictures of crossframe motion are not there" && exit 0; }
cat >"$folder/c.yaml" <<YAML
DATA: {TRAIN_FILE: '$folder/data/train.h5', VAL_FILE: '', LABEL_LIST: '', NUM_CLASSES: 80, NUM_FRAMES: 4, INPUT_SIZE: 40, WORKERS: 1}
MODEL: {ARCH: custom, PATCH_SIZE: 20, VISION_WIDTH: 64, VISION_LAYERS: 2, EMBED_DIM: 64, TEXT_WIDTH: 64,
  TEXT_LAYERS: 1, CONTEXT_LENGTH: 32}
TRAIN: {EPOCHS: 1, WARMUP_EPOCHS: 0, BATCH_SIZE: 4}
OUTPUT: '$folder/run'
YAML
"$CROSSFRAME" train -c "$folder/c.yaml" >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
x=$folder/run/last.safetensors

echo "1..22"
check "no OUT" 2 "usage: crossframe convert IN OUT" convert "$x"
check "unknown ending" 2 "OUT ends in" convert "$x" "$folder/out"
check "unknown naming" 2 "--naming is one of native, openai, hf" convert "$x" "$folder/o.pth" --naming x
check "frames without a way" 2 "go together" convert "$x" "$folder/o.pth" --frames 8
check "no such file" 1 "nothing" convert "$folder/nothing" "$folder/o.pth"
check "to native" 0 "optimiser's state are left out" convert "$x" "$folder/a.safetensors"
check "to an archive" 0 "-> $folder/a.pth (native, f32)" convert "$folder/a.safetensors" "$folder/a.pth"
check "to a folder" 0 "tensors, X-CLIP in PyTorch archive" convert "$folder/a.pth" "$folder/hf" --naming hf
check "back" 0 "Hugging Face XCLIPModel" convert "$folder/hf" "$folder/b.safetensors"
check "inspect the archive" 0 "PyTorch archive" inspect "$folder/a.pth"
check "inspect the folder" 0 "complete       yes" inspect "$folder/hf" --tensors
check "to bf16" 0 "bf16" convert "$folder/a.pth" "$folder/h.pth" --dtype bf16
check "types" 0 "BF16 in" inspect "$folder/h.pth"
check "CLIP alone" 0 "X-CLIP's own parts are left out" convert "$x" "$folder/clip.pth" --naming openai
check "no XCLIPModel of a CLIP" 1 "no whole X-CLIP" convert "$folder/clip.pth" "$folder/hf2" --naming hf
check "other T is refused" 1 "MODEL.MIT_POSITION interpolate, cut or new" train -c "$folder/c.yaml" \
    --resume "$folder/a.pth" --output "$folder/run2" --opts DATA.NUM_FRAMES 2
check "other T" 0 "interpolated to 2 frames" train -c "$folder/c.yaml" --resume "$folder/a.pth" \
    --output "$folder/run2" --opts DATA.NUM_FRAMES 2 MODEL.MIT_POSITION interpolate
check "a foreign checkpoint starts at epoch 0" 0 "starts at epoch 0" train -c "$folder/c.yaml" \
    --resume "$folder/hf" --output "$folder/run3" --opts MODEL.BPE "$folder/data/merges.txt"
check "other T and size" 0 "-> " convert "$x" "$folder/t.safetensors" --frames 6 --frames-by cut \
    --image 60 --image-by bicubic
check "inspect it" 0 "60 pixels in patches of 20" inspect "$folder/t.safetensors"
"$CROSSFRAME" convert "$folder/a.safetensors" "$folder/c.pth" >/dev/null 2>&1
same "the same input, the same bytes" "$folder/a.pth" "$folder/c.pth"
n=$((n + 1))
left=$(find "$folder" -name '*.tmp*' -o -name '*.new' -o -name hf2 | wc -l)
if [ "$left" = 0 ]; then echo "ok $n - nothing is left behind"; else echo "not ok $n - nothing is left behind"; fi
