#!/usr/bin/env python3
"""The recipe against PyTorch: 50 optimiser steps of mixed, smoothed, accumulated, scheduled training.

Both sides start from the same random weights and see the same videos. Mixing, targets, schedule, groups, AdamW
and accumulation are written here a second time, from the recipe's description; of Crossframe's run only the random
draws are taken over (which videos, mixup's lambda, cutmix's box, partners: tests/peer/peer_mix.c). See README.md.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import torch
import torch.nn.functional as F

import xclip

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CLASSES = [f"a {colour} bar moving {way}" for colour in ("red", "green", "blue") for way in ("left", "right")]
FRAMES, SIZE, BATCH, ACCUMULATION = 4, 40, 8, 2
MICRO_BATCHES, LEFT_VIDEOS = 21, 3  # of an epoch: 10 steps, a micro-batch and 3 videos over
LR, NEW_FACTOR, WARMUP_EPOCHS, WEIGHT_DECAY, SMOOTH = 8e-5, 10, 1, 0.05, 0.1
MEAN = np.array([123.675, 116.28, 103.53], np.float32)[:, None, None]
STD = np.array([58.395, 57.12, 57.375], np.float32)[:, None, None]

CONFIG = """DATA: {{TRAIN_FILE: '{folder}/train.h5', VAL_FILE: '', LABEL_LIST: '', NUM_CLASSES: 6, NUM_FRAMES: 4,
  INPUT_SIZE: 40, WORKERS: 1}}
MODEL: {{ARCH: custom, PATCH_SIZE: 10, VISION_WIDTH: 128, VISION_LAYERS: 3, EMBED_DIM: 128, TEXT_WIDTH: 64,
  TEXT_LAYERS: 2, CONTEXT_LENGTH: 32, PRETRAINED: scratch, BPE: '{bpe}'}}
TRAIN: {{EPOCHS: {epochs}, WARMUP_EPOCHS: 1, LR: {lr}, WEIGHT_DECAY: 0.05, BATCH_SIZE: 8, ACCUMULATION_STEPS: 2}}
AUG: {{LABEL_SMOOTH: 0.1, MIXUP: 0.8, CUTMIX: 1.0, MIXUP_SWITCH_PROB: 0.5, COLOR_JITTER: 0, GRAY_SCALE: 0, FLIP: 0,
  MULTI_SCALE_CROP: False}}
OUTPUT: '{folder}/{name}'
"""


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def write_pack(path):
    """Bars that move over noise, as a pack of raw frames."""
    rng = np.random.default_rng(5)
    n = MICRO_BATCHES * BATCH + LEFT_VIDEOS
    label = np.arange(n) % len(CLASSES)
    video = rng.integers(40, 120, (n, FRAMES, SIZE, SIZE, 3), np.uint8)
    for i in range(n):
        start = rng.integers(0, 12)
        for t in range(FRAMES):
            x = start + 5 * t if label[i] % 2 else SIZE - 8 - start - 5 * t
            video[i, t, :, x:x + 8, label[i] // 2] = 240
    with h5py.File(path, "w") as f:
        f.attrs.update(format="crossframe", version=1, encoding="raw", dataset="bars", short_side=0, quality=0,
                       creator="recipe.py")
        f["frames/data"] = video.ravel()
        f["frames/offset"] = np.arange(n * FRAMES + 1, dtype=np.int64) * SIZE * SIZE * 3
        f["videos/first_frame"] = np.arange(n + 1, dtype=np.int64) * FRAMES
        f["videos/label"] = label.astype(np.int32)
        f["videos/name"] = [f"bar {i}" for i in range(n)]
        f["videos/fps"] = np.zeros(n, np.float32)
        for name, value in (("height", SIZE), ("width", SIZE), ("source_frames", FRAMES)):
            f["videos/" + name] = np.full(n, value, np.int32)
        f["classes/name"] = CLASSES
    return (video.transpose(0, 1, 4, 2, 3).astype(np.float32) - MEAN) / STD, label


def mixed(video, label, draw):
    """The micro-batch that these draws make: pictures and soft targets, in single precision."""
    rows = draw["rows"]
    x, one = video[rows], np.float32(1)
    off = SMOOTH / len(CLASSES)
    y = np.full((len(rows), len(CLASSES)), off, np.float32)
    y[np.arange(len(rows)), label[rows]] = 1 - SMOOTH + off
    partner = draw["partner"]
    if draw["cutmix"]:
        x1, x2, y1, y2 = draw["box"]
        share = np.float32(1 - (x2 - x1) * (y2 - y1) / (SIZE * SIZE))
        other = x[partner]
        x[..., y1:y2, x1:x2] = other[..., y1:y2, x1:x2]
    else:
        share = np.float32(draw["lambda"])
        x = share * x + (one - share) * x[partner]
    return x, share * y + (one - share) * y[partner]


def rate(base, update, epochs):
    """Of update number `update` (from 0): the schedule counts micro-batches and lags one update behind."""
    per_epoch = MICRO_BATCHES // ACCUMULATION
    if update == 0:
        return 0.0  # the warm-up's start
    epoch, i = divmod(update - 1, per_epoch)
    t = epoch * MICRO_BATCHES + (i + 1) * ACCUMULATION - 1  # last micro-batch of the update before
    warmup, total = int(WARMUP_EPOCHS * MICRO_BATCHES), epochs * MICRO_BATCHES
    if t < warmup:
        return t * base / warmup
    least = LR / 100  # of every group
    return least + 0.5 * (base - least) * (1 + math.cos(math.pi * t / total))


def read_log(folder):
    with open(os.path.join(folder, "log.jsonl")) as f:
        return [r for r in map(json.loads, f) if r["kind"] == "step"]


def tokenize(program, bpe):
    tokens = torch.zeros(len(CLASSES), 32, dtype=torch.long)
    for row, line in zip(tokens, run(program, "tokenize", "--bpe", bpe, "--context", "32", *CLASSES).splitlines()):
        ids = [int(x) for x in line.split()]
        row[:len(ids)] = torch.tensor(ids)
    return tokens


def ours(a, folder):
    """Trains with the program; start values, draws, log, end values."""
    def config(name, lr, epochs):
        path = f"{folder}/{name}.yaml"
        with open(path, "w") as f:
            f.write(CONFIG.format(folder=folder, name=name, bpe=a.bpe, lr=lr, epochs=epochs))
        return path

    # An epoch at rate 0 writes the start values; both programs then start from these alone.
    run(a.program, "train", "-c", config("start", 0, 1))
    start = xclip.read_safetensors(f"{folder}/start/last.safetensors")
    xclip.write_safetensors(f"{folder}/weights.safetensors", start)
    path = config("run", LR, a.epochs)
    run(a.program, "train", "-c", path, "--resume", f"{folder}/weights.safetensors")
    draws = [json.loads(line) for line in run(a.mix, path).splitlines()]
    return start, draws, read_log(f"{folder}/run"), xclip.read_safetensors(f"{folder}/run/last.safetensors")


def train(a, start, draws, video, label):
    """The same in PyTorch: (losses, rates of both groups, model)."""
    model = xclip.XClip(start)
    text = model.text(tokenize(a.program, a.bpe))
    optimizer = xclip.make_optimizer(model, LR, WEIGHT_DECAY)
    used = [d for d in draws if d["micro"] < MICRO_BATCHES // ACCUMULATION * ACCUMULATION]
    losses, rates, kind = [], [], torch.get_default_dtype()
    for update in range(len(used) // ACCUMULATION):
        for group in optimizer.param_groups:
            group["lr"] = rate(group["base"], update, a.epochs)
        optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        for draw in used[update * ACCUMULATION:(update + 1) * ACCUMULATION]:
            x, y = (torch.from_numpy(v).to(kind) for v in mixed(video, label, draw))
            one = -(y * F.log_softmax(model(x, text), dim=-1)).sum(1).mean()
            (one / ACCUMULATION).backward()
            loss += one.item() / ACCUMULATION
        optimizer.step()
        losses.append(loss)
        rates.append((rate(LR, update, a.epochs), rate(NEW_FACTOR * LR, update, a.epochs)))
    return losses, rates, model


def compare(a, folder):
    video, label = write_pack(f"{folder}/train.h5")
    start, draws, log, last = ours(a, folder)
    assert len(draws) == a.epochs * MICRO_BATCHES and len(log) == a.epochs * (MICRO_BATCHES // ACCUMULATION)
    torch.set_default_dtype(torch.float64 if a.double else torch.float32)
    if a.double:
        start = {k: v.astype(np.float64) for k, v in start.items()}
    losses, rates, model = train(a, start, draws, video, label)
    loss_off = max(abs(r["loss"] - x) / x for r, x in zip(log, losses))
    rate_off = max(max(abs(r["lr"] - x) / LR, abs(r["lr_new"] - y) / (NEW_FACTOR * LR))
                   for r, (x, y) in zip(log, rates))
    moved = far = 0.0
    for name, p in model.named_parameters():
        if p.requires_grad:
            moved += float(((last[name] - start[name]).astype(np.float64) ** 2).sum())
            far += float(((last[name] - p.detach().numpy()).astype(np.float64) ** 2).sum())
    kinds = sum(d["cutmix"] for d in draws)
    print(f"{len(losses)} steps of {ACCUMULATION} micro-batches ({kinds} cutmix, {len(draws) - kinds} mixup), "
          f"loss {losses[0]:.4f} to {losses[-1]:.4f}, {torch.get_default_dtype()}")
    print(f"  largest relative difference of the losses       {loss_off:.2e}")
    print(f"  largest difference of a rate, over its largest  {rate_off:.2e}")
    print(f"  distance of the weights over their way          {(far / moved) ** 0.5:.2e}")
    limits = (1e-8, 1e-9, 1e-9) if a.double else (1e-4, 1e-9, 1e-3)
    values = (loss_off, rate_off, (far / moved) ** 0.5)
    if not all(v <= m for v, m in zip(values, limits)) or losses[-1] >= losses[0]:
        sys.exit(f"recipe: beyond the limits {limits}, or nothing was learned")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--program", default=f"{ROOT}/build/release/crossframe")
    p.add_argument("--mix", default=f"{ROOT}/build/release/tests/peer/peer_mix", help="make peer-programs")
    p.add_argument("--bpe", default=f"{ROOT}/tests/golden/tokenizer/merges.txt", help="any vocabulary")
    p.add_argument("--epochs", type=int, default=5, help="of 10 steps")
    p.add_argument("--double", action="store_true", help="PyTorch in float64 (for the f64 build)")
    a = p.parse_args()
    a.program, a.mix, a.bpe = map(os.path.abspath, (a.program, a.mix, a.bpe))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    with tempfile.TemporaryDirectory() as folder:
        compare(a, folder)


if __name__ == "__main__":
    main()
