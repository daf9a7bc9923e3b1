#!/bin/bash
# crossframe pack from outside: videos made here by ffmpeg, sources of every kind, what cannot be
# read, interruptions at any moment, refusals. TAP; skipped aloud where there is no ffmpeg.
. "$(dirname "$0")/tap.bash"

tests=17
echo "1..$tests"
if ! command -v ffmpeg >/dev/null; then
    for i in $(seq $tests); do echo "ok $i # SKIP there is no ffmpeg"; done
    exit 0
fi

pack() { "$program" pack "$@"; }
# fails TEXT ARGUMENTS...: exit status 1 and one line on stderr that holds the text
fails() {
    local text=$1 status=0
    shift
    pack "$@" >out.log 2>err.log || status=$?
    cat err.log
    [ "$status" = 1 ] && [ "$(grep -vc '^warning: ' err.log)" = 1 ] && grep -qF -- "$text" err.log
}
has() { "$program" inspect "$1" | tee /dev/stderr | grep -qF -- "$2"; }
make_video() { # NAME SIZE SECONDS OPTIONS...
    local name=$1 size=$2 seconds=$3
    shift 3
    ffmpeg -v error -y -f lavfi -i "testsrc2=size=$size:rate=25:duration=$seconds" "$@" "$name"
}

# ---- sources ------------------------------------------------------------------------------------
mkdir -p v/one "v/two words"
make_video v/one/a.mp4 128x96 2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p
make_video v/one/b.avi 96x128 1 -c:v mpeg4
make_video v/one/c.mkv 101x77 1 -c:v ffv1 -pix_fmt yuv444p
make_video v/one/d.gif 64x48 1
make_video "v/two words/e 7.mp4" 130x70 3 -c:v libx264 -preset ultrafast -pix_fmt yuv420p
make_video v/one/f.webm 80x60 1 -c:v libvpx -b:v 200k
printf 'id,name\n0,one\n1,two words\n' >labels.csv
printf 'one/a.mp4 0\none/b.avi 0\none/c.mkv 0\none/d.gif 0\ntwo words/e 7.mp4 1\none/f.webm 0\n' >list.txt
all="--root v --list list.txt --labels labels.csv"

several_kinds() { pack $all --out kinds.h5 && has kinds.h5 "6 videos, 225 frames, 2 classes"; }
check "mp4, avi, mkv, gif, webm, a name with spaces" several_kinds

short_side() {
    has kinds.h5 "height             256 to 341" && has kinds.h5 "jpeg" &&
        pack $all --out keep.h5 --short-side 0 --encoding raw && has keep.h5 "height             48 to 128"
}
check "short side 256 unless asked otherwise" short_side

folders() {
    pack --root v --out folders.h5 && has folders.h5 "6 videos, 225 frames, 2 classes" &&
        tar cf v.tar v && pack --root v.tar --out tar.h5 && has tar.h5 "6 videos, 225 frames, 2 classes" &&
        printf 'a.mp4 0\ne 7.mp4,1\n' >base.txt && pack --root v.tar --list base.txt --labels labels.csv --out t.h5 &&
        has t.h5 "2 videos"
}
check "folders of classes, a tar with and without a list" folders

# Frames as ffmpeg writes them, told by the pack as the same bytes.
mkdir -p frames/x frames/y
ffmpeg -v error -i v/one/a.mp4 -q:v 3 frames/x/img_%05d.jpg
ffmpeg -v error -i v/one/d.gif -pix_fmt rgb24 frames/y/%d.png
jpegs_copied() {
    printf 'x 50 0\n' >x.txt
    pack --root frames --list x.txt --labels labels.csv --out x.h5 --short-side 0 &&
        tail -c +65537 x.h5 | head -c "$(cat frames/x/*.jpg | wc -c)" | cmp - <(cat frames/x/*.jpg)
}
check "JPEG frames are copied when nothing is asked of them" jpegs_copied
pngs_sorted() {
    printf 'y 25 0\n' >y.txt
    pack --root frames --list y.txt --labels labels.csv --out y.h5 --short-side 0 --encoding png &&
        tail -c +65537 y.h5 | head -c "$(cat frames/y/*.png | wc -c)" |
        cmp - <(for i in $(seq 25); do cat frames/y/$i.png; done)
}
check "PNG frames in the order people count" pngs_sorted
counts() {
    printf 'x 49 0\ny 25 0\n' >wrong.txt
    pack --root frames --list wrong.txt --labels labels.csv --out wrong.h5 && has wrong.h5 "1 videos" &&
        grep -q '^x,.*has 50 frames, its list says 49' wrong.h5.problems.csv
}
check "a wrong count is a problem" counts

# ---- what cannot be read ------------------------------------------------------------------------
mkdir -p bad && cp -r v/one v/two\ words bad/
head -c 3000 v/one/a.mp4 >bad/cut.mp4
head -c 4000 /dev/urandom >bad/noise.mp4
{ head -c 9000 v/one/b.avi; head -c 20000 /dev/zero; } >bad/holes.avi
: >bad/empty.mp4
ffmpeg -v error -f lavfi -i sine=duration=1 bad/sound.m4a
{
    printf 'cut.mp4 0\nnoise.mp4 0\none/a.mp4 0\nholes.avi 1\nempty.mp4 0\nsound.m4a 1\n'
    printf 'missing.mp4 0\ntwo words/e 7.mp4 1\n"gone, too.mp4",1\n'
} >bad.txt
problems() {
    pack --root bad --list bad.txt --labels labels.csv --out bad.h5 --short-side 0 | tee /dev/stderr |
        grep -q "2 videos, 125 frames, .* bytes, 7 skipped" || return 1
    cut -d, -f1 bad.h5.problems.csv | tr '\n' ' ' >names
    [ "$(cat names)" = 'path cut.mp4 noise.mp4 holes.avi empty.mp4 sound.m4a missing.mp4 "gone ' ] &&
        grep -q '^empty.mp4,.*is empty' bad.h5.problems.csv &&
        grep -q '^sound.m4a,.*no video' bad.h5.problems.csv && grep -q '^missing.mp4,.*No such' bad.h5.problems.csv
}
check "3 corrupt, 2 missing, 1 empty, 1 audio-only: told and left out" problems
printf 'one/a.mp4 0\ntwo words/e 7.mp4 1\n' >good.txt
only_good() {
    pack --root bad --list good.txt --labels labels.csv --out good.h5 --short-side 0 && cmp good.h5 bad.h5 &&
        [ ! -e good.h5.problems.csv ]
}
check "the pack is that of the others alone" only_good
strict() {
    fails "cut.mp4" --root bad --list bad.txt --labels labels.csv --out s.h5 --strict && [ ! -e s.h5 ]
}
check "--strict stops" strict

# ---- the same bytes -----------------------------------------------------------------------------
threads() {
    for n in 1 3; do pack $all --out t$n.h5 --workers $n && cmp t$n.h5 kinds.h5 || return 1; done
}
check "the same bytes by any number of threads" threads

for i in $(seq 18); do echo "l$i.mp4 0"; done >long.txt
mkdir long && for i in $(seq 18); do cp v/one/a.mp4 long/l$i.mp4; done
rm long/l7.mp4 && : >long/l11.mp4
long="--root long --list long.txt --labels labels.csv --short-side 240 --workers 2"
pack $long --out long.h5 >/dev/null 2>&1

bytes_of() { stat -c %s "$1" 2>/dev/null || echo 0; }
# killed OUT OPTIONS...: starts the pack and kills it a moment after its journal has grown
killed() {
    local out=$1 before child
    shift
    before=$(bytes_of $out.journal)
    "$program" pack $long --out $out "$@" >kill.log 2>&1 &
    child=$!
    while [ "$(bytes_of $out.journal)" -le "$before" ] && kill -0 $child 2>/dev/null; do sleep 0.01; done
    sleep 0.0$((RANDOM % 9))
    kill -9 $child 2>/dev/null
    wait $child 2>/dev/null
}
kills() {
    local went_on=0
    for _ in $(seq 12); do
        killed kill.h5
        [ -e kill.h5.journal ] && continue
        cmp kill.h5 long.h5 || return 1
        grep -q "earlier, interrupted" kill.log && went_on=$((went_on + 1))
        rm -f kill.h5*
    done
    pack $long --out kill.h5 >kill.log 2>&1 || return 1
    grep -q "earlier, interrupted" kill.log && went_on=$((went_on + 1))
    cat kill.log
    cmp kill.h5 long.h5 && cmp kill.h5.problems.csv long.h5.problems.csv &&
        [ ! -e kill.h5.journal ] && [ ! -e kill.h5.tmp ] && [ $went_on -ge 1 ]
}
check "killed at many moments, it goes on to the same bytes" kills

kill_shards() {
    pack $long --shards 3 --out a.h5 >/dev/null 2>&1
    for _ in 1 2 3; do killed b.h5 --shards 3; done
    pack $long --shards 3 --out b.h5 >/dev/null 2>&1
    for i in 0 1 2; do cmp a-0000$i-of-00003.h5 b-0000$i-of-00003.h5 || return 1; done
    has a-00001-of-00003.h5 "4 videos, 200 frames" && [ ! -e b.h5.journal ]
}
check "shards too" kill_shards

interrupted() { # leaves i.h5.journal; a pack that is done before it is asked is made again
    local child status
    for _ in $(seq 20); do
        rm -f i.h5*
        "$program" pack $long --out i.h5 >/dev/null 2>&1 &
        child=$!
        while [ "$(bytes_of i.h5.journal)" -lt 600 ] && kill -0 $child 2>/dev/null; do sleep 0.01; done
        kill -INT $child 2>/dev/null
        status=0
        wait $child || status=$?
        [ $status = 130 ] && [ -e i.h5.journal ] && [ -e i.h5.tmp ] && return 0
        [ $status = 0 ] || [ $status = 130 ] || return 1
    done
    return 1
}
other_options() {
    interrupted && fails "had '--stride 1', now it is '--stride 2'" $long --out i.h5 --stride 2 &&
        head -15 long.txt >shorter.txt &&
        fails "had 'videos 18" --root long --list shorter.txt --labels labels.csv --short-side 240 --out i.h5 &&
        mv i.h5.tmp away && fails "--restart begins anew" --workers 1 $long --out i.h5 &&
        pack $long --out i.h5 --restart --stride 2 && has i.h5 "16 videos, 400 frames"
}
check "Ctrl-C stops; other options or another list are refused until --restart" other_options

# ---- splits, thinning, refusals -----------------------------------------------------------------
splits() {
    printf 'one/b.avi,0\none/a.mp4,0\n' >val.txt
    pack --root v --list "train=list.txt" --list val=val.txt --labels labels.csv --out s.h5 --stride 2 --max-frames 10 &&
        has s.h5 "6 videos, 60 frames" && has s.h5 "#val" && has s.h5 "#train" && has s.h5 "25 to 75"
}
check "several lists are splits of one pack; stride and most frames" splits

refusals() {
    printf 'one/a.mp4 0\none/b.avi 2\n' >range.txt
    printf 'one/a.mp4 0\none/a.mp4 1\n' >both.txt
    fails "range.txt, line 2: label 2 is outside 0 .. 1" --root v --list range.txt --labels labels.csv --out r.h5 &&
        fails "one/a.mp4 has label 0 in both.txt, line 1, and 1 in both.txt, line 2" --root v --list both.txt --labels labels.csv --out r.h5 &&
        fails "none of the 6 videos of list.txt is in it" --root . --list list.txt --labels labels.csv --out r.h5 &&
        fails "the names of its classes" --root v --list list.txt --out r.h5 &&
        fails "No such file" $all --out nowhere/r.h5 &&
        printf 'noise.mp4 0\n' >none.txt &&
        fails "none of the 1 videos could be packed" --root bad --list none.txt --labels labels.csv --out r.h5 &&
        [ "$(echo r.h5*)" = r.h5.problems.csv ]
}
check "lists that cannot be right, wrong places: one line, nothing left" refusals

disk_full() {
    (ulimit -f 200 && fails "cannot write full.h5.tmp" $long --out full.h5) &&
        pack $long --out full.h5 >/dev/null 2>&1 && cmp full.h5 long.h5
}
check "a full disk is one line, and nothing is lost" disk_full

usage() {
    local status=0
    pack --root v --out x.h5 --encoding tiff 2>err.log || status=$?
    [ $status = 2 ] && grep -q "encoding is jpeg, png or raw" err.log
}
check "a wrong call" usage
exit $failed
