#!/bin/bash
# The speed of `crossframe pack` against ffmpeg's, which decodes the same files, scales them to the same
# short side and encodes JPEG of about the same quality and size: one process a core, side by side.
#   bench/bench_pack.sh [PROGRAM] [FOLDER]      FOLDER keeps the videos for the next time
# Prints CSV: tool, cores, seconds (the least of three), CPU seconds, frames per second, bytes; then the
# ratio, to be at least 0.9; that of CPU seconds tells more on a machine that has other work. Both write what they make to the disk. ffmpeg's -q:v 3 is the nearest to
# --quality 85 in size; both resize bilinearly and have colours at half resolution.
set -eu
program=$(realpath "${1:-build/release/crossframe}")
dir=${2:-$(mktemp -d)}
[ -n "${2:-}" ] || trap 'rm -rf "$dir"' EXIT
cores=${CORES:-$(nproc)} runs=${RUNS:-3}
mkdir -p "$dir/videos"
cd "$dir"

# 40 videos of 10 s, H.264, in three usual sizes: moving patterns with some noise, as films have.
sizes=(340x256 480x360 640x360)
for i in $(seq -w 40); do
    [ -e videos/$i.mp4 ] && continue
    ffmpeg -v error -f lavfi -i "testsrc2=size=${sizes[10#$i % 3]}:rate=25:duration=10" \
        -vf "noise=alls=6:allf=t:all_seed=$i" -c:v libx264 -preset fast -crf 23 -pix_fmt yuv420p \
        -y tmp.mp4
    mv tmp.mp4 videos/$i.mp4
done
ls videos | sed 's/$/ 0/' >list.txt
printf 'id,name\n0,pattern\n' >labels.csv
frames=$((40 * 250))

now() { date +%s%N; }
# least COMMAND: of the runs the least seconds, in $seconds, and CPU seconds, in $cpu
least() {
    seconds="" cpu=""
    local TIMEFORMAT="%U %S"
    for _ in $(seq "$runs"); do
        rm -rf out.h5* jpeg
        mkdir jpeg
        local start
        start=$(now)
        { time "$@" >/dev/null 2>&1; } 2>cpu.txt
        local took=$(($(now) - start))
        if [ -z "$seconds" ] || [ $took -lt "$seconds" ]; then seconds=$took; fi
        cpu=$(awk -v c="$cpu" '{ t = $1 + $2; print c == "" || t < c ? t : c }' cpu.txt)
    done
}
ours() {
    "$program" pack --root videos --list list.txt --labels labels.csv --out out.h5 --workers "$cores" --quality 85
}
theirs() {
    ls videos | xargs -P "$cores" -I{} sh -c 'mkdir jpeg/{} && ffmpeg -v error -nostdin -threads 1 \
        -filter_threads 1 -i videos/{} -vf "scale=w=256:h=256:force_original_aspect_ratio=increase:flags=bilinear" \
        -pix_fmt yuvj420p -q:v 3 -threads:v 1 jpeg/{}/%05d.jpg'
}
row() { awk -v t="$1" -v c="$cores" -v s="$seconds" -v f=$frames -v b="$2" \
    -v u="$cpu" 'BEGIN { printf "%s,%d,%.2f,%.2f,%.0f,%d\n", t, c, s / 1e9, u, f * 1e9 / s, b }'; }

echo "tool,cores,seconds,cpu_seconds,frames_per_second,bytes"
least theirs
peer=$seconds peer_cpu=$cpu
row ffmpeg "$(cat jpeg/*/*.jpg | wc -c)"
least ours
row crossframe "$(stat -c %s out.h5)"
awk -v a="$peer" -v b="$seconds" -v c="$peer_cpu" -v d="$cpu" \
    'BEGIN { printf "ratio of speeds: %.2f (at least 0.9); of CPU seconds: %.2f\n", a / b, c / d }'
