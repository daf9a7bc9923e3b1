#!/bin/bash
# MODEL.HEAD fc from outside: trains without vocabulary, is tested and predicts;
# other classes, texts and prompts are refused with the reason. TAP.
. "$(dirname "$0")/tap.bash"
. "$here/tests/cli/tiny.bash"

tiny heads 1 11
rm data/merges.txt
printf 'id,name\n0,a bag growing\n1,a sneaker moving up\n' >two.csv
printf 'id,name\n0,a bag growing\n1,a t-shirt moving left\n2,a sneaker moving up\n' >turned.csv
for f in two turned; do
    "$program" splits pack --source data/train.h5 --labels $f.csv --out data >/dev/null 2>&1
done
cat >c.yaml <<YAML
DATA: {TRAIN_FILE: data/three.txt, ROOT: data/train.h5, VAL_FILE: data/three.txt, LABEL_LIST: three.csv, NUM_CLASSES: 3,
  NUM_FRAMES: 4, INPUT_SIZE: 40, WORKERS: 1}
MODEL: {ARCH: custom, PATCH_SIZE: 20, VISION_WIDTH: 64, VISION_LAYERS: 1, EMBED_DIM: 64, PRETRAINED: scratch, HEAD: fc}
TRAIN: {EPOCHS: 1, WARMUP_EPOCHS: 0, BATCH_SIZE: 3, LR: 1.e-3}
OUTPUT: run
YAML
"$program" train -c c.yaml >train.log 2>&1 && cp run/last.safetensors whole.safetensors
trains() { cat train.log && [ -s whole.safetensors ] && grep -q 'fully connected head' train.log && ! grep -q vocabulary train.log; }
check "trains without vocabulary" trains
check "inspect tells the head" eval '"$program" inspect whole.safetensors | tee /dev/stderr | grep -Eq "^head +2 +195$"'
tests() { "$program" test -c c.yaml --resume whole.safetensors >t.log 2>&1 && grep -q '19 videos scored' t.log; }
check "is tested" tests
told() {
    sed 's/, HEAD: fc//' c.yaml >plain.yaml && "$program" test -c plain.yaml --resume whole.safetensors >u.log 2>&1 &&
        cat u.log && cmp <(tail -1 t.log) <(tail -1 u.log)
}
check "the file tells its head" told
predicts() {
    "$program" predict data/train.h5#0 --checkpoint whole.safetensors >p.log 2>&1
    cat p.log
    grep -q 'a bag growing' p.log
}
check "predicts its own classes" predicts
check "other labels" complains 1 "head of 3 classes, but there are 2 labels" \
    predict data/train.h5#0 --checkpoint whole.safetensors --labels a,b
check "no template" complains 1 "there are no texts for --template" \
    predict data/train.h5#0 --checkpoint whole.safetensors --template 'a {}'
check "another number of classes" complains 1 "head of 3 classes, the data have 2: a head knows the classes" test -c c.yaml \
    --resume whole.safetensors --opts DATA.LABEL_LIST two.csv DATA.NUM_CLASSES 2 DATA.VAL_FILE data/two.txt
check "other names" complains 1 'class 0 of its fully connected head is "a t-shirt moving left", here it is "a bag growing"' \
    test -c c.yaml --resume whole.safetensors --opts DATA.LABEL_LIST turned.csv DATA.VAL_FILE data/turned.txt
check "no zero-shot" complains 1 "knows the 3 classes it was trained on only" \
    zeroshot -c c.yaml --resume whole.safetensors --output zero data/three.txt
check "no Hugging Face" complains 1 "only --naming native knows" convert whole.safetensors hf --naming hf
exit $failed
