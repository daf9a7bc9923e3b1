#!/usr/bin/python3
"""Writes text_variants.h5: logits, losses and gradients of the variants on the text side.

The model is bench/peer/xclip.py, in float64; the fill rule and the shapes of its tensors are make_variants.py's.
test_text_variants.c reads it. Usage: make_text_variants.py [OUT]
"""
import os
import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import make_variants  # noqa: E402
from make_variants import values, xclip  # noqa: E402

IMAGE, PATCH, WIDTH, LAYERS, CONTEXT, VOCABULARY, T, B, K, TEMPLATES = 20, 10, 64, 2, 12, 20, 2, 2, 3, 3
SAMPLES = 6
VARIANTS = {  # what is beside the trunk, what is trained
    "video": {},
    "fix_visual": {"fix_visual": True},
    "fix_visual_train_text": {"fix_visual": True, "train_text": True},
    "train_text": {"train_text": True},
    "train_scale": {"train_scale": True},
    "train_text_fix_scale": {"train_text": True, "train_scale": False},
    "vectors": {"prompts": 0, "vectors": 4},
    "vectors_train_text": {"prompts": 0, "vectors": 4, "train_text": True},
    "vectors_fix_visual": {"prompts": 0, "vectors": 4, "fix_visual": True},
    "ensemble": {"prompts": 0, "template": 1},
    "ensemble_train_text": {"prompts": 0, "template": 2, "train_text": True},
    "ensemble_test": {"prompts": 0, "template": -1},
}


def shapes(prompts, vectors):
    sizes = {"image": IMAGE, "patch": PATCH, "vision_width": WIDTH, "vision_layers": LAYERS, "embed": WIDTH,
             "text_width": WIDTH, "text_layers": LAYERS, "context": CONTEXT, "vocabulary": VOCABULARY, "classes": K}
    s = make_variants.shapes(sizes, "cct", T, 1, prompts, False)
    if vectors:
        s["prompts_context"] = (vectors, WIDTH)
    return s


def center_and_scale(name, shape):
    if name == "logit_scale":
        return 2.0, 0.0
    part = name.split(".")[-2] if "." in name else ""
    if name.endswith(".weight") and len(shape) == 1 and ("ln" in part or "norm" in part):
        return 1.0, 0.3
    if name.endswith("bias"):
        return 0.0, 0.1
    return (0.0, 1.0) if "embedding" in name or name == "prompts_context" else (0.0, 0.25)


def trained(name, o):
    if any(part in name for part in ("message_", "mit", "prompts")):
        return True
    if name.startswith("visual."):
        return not o.get("fix_visual", False)
    if name == "logit_scale":
        return o.get("train_scale", o.get("train_text", False))
    return o.get("train_text", False)


def run(v, o, names, tokens, target):
    s = shapes(o.get("prompts", 2), o.get("vectors", 0))
    model = xclip.XClip({n: values("w:" + n, s[n], *center_and_scale(n, s[n])) for n in s})
    for n, p in model.named_parameters():
        p.requires_grad_(trained(n, o))
    video = torch.from_numpy(values("variants:video", (B, T, 3, IMAGE, IMAGE), 0, 1.5))
    if o.get("template", 0) < 0:
        text = torch.stack([F.normalize(model.text(t), dim=-1, eps=0) for t in tokens]).mean(0)
    else:
        text = model.encode_text(tokens[o.get("template", 0)])
    logits = model(video, text)
    loss = F.cross_entropy(logits, target)
    loss.backward()
    parameters = dict(model.named_parameters())
    norms, samples = np.full(len(names), -1.0), np.zeros((len(names), SAMPLES))
    for i, n in enumerate(names):
        p = parameters.get(n)
        if p is None or not p.requires_grad:
            continue
        g = p.grad.numpy().reshape(-1)
        norms[i] = np.linalg.norm(g)
        samples[i] = g[[j * g.size // SAMPLES for j in range(SAMPLES)]]
    v.attrs["prompt_layers"], v.attrs["prompt_vectors"] = o.get("prompts", 2), o.get("vectors", 0)
    v.attrs["template"] = o.get("template", 0)
    v.attrs["fix_visual"], v.attrs["train_text"] = int(o.get("fix_visual", False)), int(o.get("train_text", False))
    v.attrs["logit_scale"] = {None: 0, False: 1, True: 2}[o.get("train_scale")]
    v["logits"], v["loss"], v["text"] = logits.detach(), np.array([loss.item()]), text.detach()
    v["norm"], v["sample"] = norms, samples


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "text_variants.h5")
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    start, end = VOCABULARY - 2, VOCABULARY - 1
    names = [[3, 5], [4], [3, 6, 7]]
    around = [lambda n: n, lambda n: [9, 10] + n, lambda n: n + [11]]
    tokens = torch.zeros(TEMPLATES, K, CONTEXT, dtype=torch.long)
    for i, template in enumerate(around):
        for k, n in enumerate(names):
            row = [start] + template(n) + [end]
            tokens[i, k, : len(row)] = torch.tensor(row)
    target = torch.tensor([[0.625, 0.25, 0.125], [0.0, 0.25, 0.75]])
    with h5py.File(out, "w", libver="earliest") as f:
        f["tokens"], f["target"] = tokens.numpy().astype(np.int32), target.numpy()
        for key, value in (("image", IMAGE), ("patch", PATCH), ("width", WIDTH), ("layers", LAYERS), ("context", CONTEXT),
                           ("vocabulary", VOCABULARY), ("frames", T), ("batch", B), ("classes", K),
                           ("templates", TEMPLATES)):
            f.attrs[key] = value
        s = shapes(2, 4)
        every = sorted(s)
        f["name"] = np.array(every, dtype=h5py.string_dtype())
        f["fill"] = np.array([center_and_scale(n, s[n]) for n in every])
        for name, o in VARIANTS.items():
            run(f.create_group("variants/" + name), o, every, tokens, target)


if __name__ == "__main__":
    main()
