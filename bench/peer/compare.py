#!/usr/bin/env python3
"""Crossframe against the PyTorch writing in xclip.py: the same losses, step by step.

See README.md beside this file. Run from anywhere; paths given are relative to the current folder.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

import common

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


if __name__ == "__main__":
    common.use_openmp_blas()
    common.keep_memory()

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import xclip  # noqa: E402

BATCH, FRAMES, SIZE, CLASSES = 16, 4, 40, 80
LR, WARMUP_EPOCHS, WEIGHT_DECAY, CLIP = 4e-4, 0.1, 0.001, 1.0  # configs/demo/xclip.yaml and base.yaml


# ---- agreement --------------------------------------------------------------------------------


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}")
    return done.stdout


def rate(base, lr, warmup, total, t):
    """Rate of the update after micro-batch t - 1; it lags one behind, see the recipe."""
    if t == 0:
        return 0.0 if warmup else base
    t -= 1
    if t < warmup:
        return t * base / warmup
    return lr / 100 + 0.5 * (base - lr / 100) * (1 + math.cos(math.pi * t / total))


def read_batches(path, n):
    """The pack's first n batches of videos, normalised, and their labels."""
    mean = np.array([123.675, 116.28, 103.53], np.float32)[:, None, None]
    std = np.array([58.395, 57.12, 57.375], np.float32)[:, None, None]
    with h5py.File(path) as f:
        offset, first = f["frames/offset"][:], f["videos/first_frame"][:]
        names = [s.decode() for s in f["classes/name"][:]]
        assert f.attrs["encoding"] in ("raw", b"raw") and (np.diff(first) == FRAMES).all()
        data = f["frames/data"][: offset[first[n * BATCH]]].reshape(n, BATCH, FRAMES, SIZE, SIZE, 3)
        label = f["videos/label"][: n * BATCH].reshape(n, BATCH)
    return (data.transpose(0, 1, 2, 5, 3, 4).astype(np.float32) - mean) / std, label, names


def read_losses(folder):
    with open(os.path.join(folder, "log.jsonl")) as f:
        records = [json.loads(line) for line in f]
    return [(r["loss"], r["grad_norm"]) for r in records if r["kind"] == "step"]


def agreement(a, folder):
    program = os.path.abspath(a.program)
    clip, bpe = os.path.abspath(a.clip), os.path.abspath(a.bpe)
    data, start, weights = (os.path.join(folder, x) for x in ("data", "start", "weights.safetensors"))
    run(program, "motion", "--out", data, "--train-videos", str(a.steps * BATCH), "--test-trajectories", "8",
        "--stills", "680", "--test-stills", "170", "--seed", "1")
    common = ["train", "-c", "configs/demo/xclip.yaml", "--opts", "DATA.SHUFFLE", "False", "MODEL.BPE", bpe,
              "MODEL.PRETRAINED", clip, "DATA.TRAIN_FILE", f"{data}/train.h5", "DATA.VAL_FILE", f"{data}/test.h5"]
    # An epoch at rate 0 writes the start values; both programs then start from these.
    run(program, *common, "TRAIN.LR", "0", "OUTPUT", start)
    tensors = xclip.read_safetensors(f"{start}/last.safetensors")
    xclip.write_safetensors(weights, tensors)
    run(program, *common, "OUTPUT", f"{folder}/ours", "MODEL.RESUME", weights)
    ours = read_losses(f"{folder}/ours")
    assert len(ours) == a.steps

    kind = torch.float64 if tensors["visual.proj"].dtype == np.float64 or a.double else torch.float32
    torch.set_default_dtype(kind)
    model = xclip.XClip(tensors)
    video, label, names = read_batches(f"{data}/train.h5", a.steps)
    context = tensors["positional_embedding"].shape[0]
    lines = run(program, "tokenize", "--bpe", bpe, "--context", str(context), *names).splitlines()
    tokens = torch.zeros(len(names), context, dtype=torch.long)
    for row, line in zip(tokens, lines):
        ids = [int(x) for x in line.split()]
        row[: len(ids)] = torch.tensor(ids)
    text = model.text(tokens)
    optimizer = xclip.make_optimizer(model, LR, WEIGHT_DECAY)
    worst = 0
    print("step  Crossframe    PyTorch       relative difference")
    for t in range(a.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(group["base"], LR, int(WARMUP_EPOCHS * a.steps), a.steps, t)
        target = torch.zeros(BATCH, len(names)).scatter_(1, torch.from_numpy(label[t]).long()[:, None], 1)
        loss = xclip.train_step(model, optimizer, torch.from_numpy(video[t]).to(kind), text, target, CLIP)
        relative = abs(loss - ours[t][0]) / ours[t][0]
        worst = max(worst, relative)
        print(f"{t:4d}  {ours[t][0]:.9f}  {loss:.9f}  {relative:.1e}")
    last = xclip.read_safetensors(f"{folder}/ours/last.safetensors")
    moved = far = 0.0
    for name, p in model.named_parameters():
        if p.requires_grad:
            moved += float(((last[name] - tensors[name]).astype(np.float64) ** 2).sum())
            far += float(((last[name] - p.detach().numpy()).astype(np.float64) ** 2).sum())
    print(f"largest relative difference of {a.steps} losses, {kind}: {worst:.2e}")
    print(f"weights after them: distance {far ** 0.5:.2e}, of a way of {moved ** 0.5:.2e}")
    torch.set_default_dtype(torch.float32)
    return worst


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    build = os.path.join(ROOT, "build")
    p.add_argument("--program", default=f"{build}/release/crossframe")
    p.add_argument("--clip", default=f"{build}/demo/clip/last.safetensors", help="small CLIP to start from")
    p.add_argument("--bpe", default=f"{build}/demo/data/merges.txt", help="its vocabulary")
    p.add_argument("--steps", type=int, default=20, help="training steps to compare")
    p.add_argument("--double", action="store_true", help="PyTorch in float64 (for the f64 build)")
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as folder:
        worst = agreement(a, folder)
    limit = 1e-7 if a.double else 1e-3
    if not worst < limit:
        sys.exit(f"the losses differ by more than {limit:g}")


if __name__ == "__main__":
    main()
