# Sourced behind tap.bash: tiny NAME EPOCHS TESTS makes what the tests of whole runs share. data: a small motion
# dataset; three.csv and data/three.txt: three of its 80 classes under numbers of their own; set1.csv: two of them again,
# as a zero-shot set; c.yaml: a model of 64 numbers a token, trained in a second. Without the pictures it ends the test
# NAME as skipped.
tiny() {
    "$program" motion --out data --train-videos 600 --test-trajectories 12 --stills 34 --test-stills 34 >motion.log 2>&1 ||
        { echo "1..1" && echo "ok 1 - $1 # SKIP the pictures of crossframe motion are not there" && exit 0; }
    echo "1..$3"
    printf 'id,name\n0,a t-shirt moving left\n1,a bag growing\n2,a sneaker moving up\n' >three.csv
    printf 'id,name\n0,a bag growing\n1,a sandal moving up\n' >set1.csv
    "$program" splits pack --source data/train.h5 --labels three.csv --out data >splits.log 2>&1
    cat >c.yaml <<YAML
DATA: {TRAIN_FILE: data/three.txt, ROOT: data/train.h5, VAL_FILE: data/three.txt, LABEL_LIST: three.csv, NUM_CLASSES: 3,
  NUM_FRAMES: 4, INPUT_SIZE: 40, WORKERS: 1}
MODEL: {ARCH: custom, PATCH_SIZE: 20, VISION_WIDTH: 64, VISION_LAYERS: 1, EMBED_DIM: 64, TEXT_WIDTH: 64,
  TEXT_LAYERS: 1, CONTEXT_LENGTH: 32, BPE: data/merges.txt, PRETRAINED: scratch}
TRAIN: {EPOCHS: $2, WARMUP_EPOCHS: 0, BATCH_SIZE: 3, LR: 1.e-3}
YAML
}
