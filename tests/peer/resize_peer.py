"""Our resize against OpenCV's INTER_LINEAR, byte by byte.

    python3 tests/peer/resize_peer.py PROGRAM [PICTURES] [SEED]

PROGRAM is build/release/tests/peer/peer_resize (`make peer-programs`). Random pictures of 1x1 to
4000x3000 (sides log-uniform, so that small ones are met), up and down, odd sizes; every tenth pair
halves both sides exactly, every tenth one side only. Pixels are uniform noise, noise of 0 and 255,
or smooth. Prints how many bytes differ and by how much; exit status 1 if any does.
"""
import struct
import subprocess
import sys

import cv2
import numpy


def side(rng, most):
    return int(round(numpy.exp(rng.uniform(0, numpy.log(most)))))


def sizes(rng, number):
    """Width and height of the source, then of the result."""
    source = [side(rng, 4000), side(rng, 3000)]
    result = [side(rng, 4000), side(rng, 3000)]
    if number == 0:
        source, result = [4000, 3000], [341, 256]
    if number == 1:
        source, result = [1, 1], [4000, 3000]
    if number % 10 == 2:
        source = [max(2, source[0] & ~1), max(2, source[1] & ~1)]
        result = [source[0] // 2, source[1] // 2]
    if number % 10 == 3:
        source[0] = max(2, source[0] & ~1)
        result[0] = source[0] // 2
    if number % 10 == 4:  # what the recipe does: the short side to 256
        short = min(source)
        result = [int(v * (256 / short) + 0.5) for v in source]
        if max(result) > 4000:
            result = [256, 256]
    return source, result


def picture(rng, width, height, number):
    if number % 3 == 0:
        return rng.integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    if number % 3 == 1:
        return rng.integers(0, 2, (height, width, 3), dtype=numpy.uint8) * numpy.uint8(255)
    small = rng.integers(0, 256, (3, 4, 3), dtype=numpy.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def main():
    program = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    rng = numpy.random.default_rng(seed)
    ours = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    total = different = pictures = largest = 0
    for number in range(count):
        (sw, sh), (w, h) = sizes(rng, number)
        source = picture(rng, sw, sh, number)
        expected = cv2.resize(source, (w, h), interpolation=cv2.INTER_LINEAR)
        ours.stdin.write(struct.pack("=4i", sw, sh, w, h))
        ours.stdin.write(source.tobytes())
        ours.stdin.flush()
        got = numpy.frombuffer(ours.stdout.read(w * h * 3), numpy.uint8)
        if got.size != w * h * 3:
            sys.exit("peer_resize ended at picture %d" % number)
        off = numpy.abs(got.astype(numpy.int16) - expected.reshape(-1).astype(numpy.int16))
        total += off.size
        wrong = int(numpy.count_nonzero(off))
        if wrong:
            pictures += 1
            different += wrong
            largest = max(largest, int(off.max()))
            print("picture %d, %dx%d to %dx%d: %d bytes differ" % (number, sw, sh, w, h, wrong))
    ours.stdin.close()
    ours.wait()
    print("%d pictures, %d bytes against OpenCV %s: %d differ (in %d pictures, by at most %d)"
          % (count, total, cv2.__version__, different, pictures, largest))
    return 1 if different or ours.returncode else 0


sys.exit(main())
