"""`make test-peer`: archives of real PyTorch through `crossframe convert`, equal to the bit, and the logits of our
XCLIPModel export in an independent PyTorch writing of that model.

    python3 tests/peer/test_peer.py BUILD [--sizes tiny,B/32,L/14]

BUILD is build/release. L/14 needs about 12 GB of memory and 10 GB in the temporary folder.
"""
import argparse
import sys
import tempfile

import archives
import logits


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("build")
    p.add_argument("--sizes", default="tiny,B/32,L/14")
    a = p.parse_args()
    program, scorer = f"{a.build}/crossframe", f"{a.build}/tests/peer/peer_logits"
    try:
        with tempfile.TemporaryDirectory() as folder:
            for size in a.sizes.split(","):
                logits.test(program, scorer, folder, [size])
                archives.test(program, folder, [size])
    except archives.Failure as failure:
        sys.exit(f"not ok - {failure}")


if __name__ == "__main__":
    main()
