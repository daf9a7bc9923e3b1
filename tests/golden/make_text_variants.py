#!/usr/bin/python3
"""Writes text_variants.h5: logits, losses and gradients of the variants on the text side.

The model is bench/peer/xclip.py, in float64; weights and video follow the fill rule of README.md beside this
file. test_text_variants.c reads it. Usage: make_text_variants.py [OUT]
"""
import os
import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "bench", "peer"))

import xclip  # noqa: E402

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


def fnv1a64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def fill(key, shape, center, scale):
    n = int(np.prod(shape, dtype=np.int64))
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a64(key)) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = (z ^ (z >> np.uint64(31))) >> np.uint64(40)
    u = z.astype(np.float32) * np.float32(2.0**-24)
    return (np.float32(center) + np.float32(scale) * (2 * u - 1)).reshape(shape)


def block(prefix, w):
    return {f"{prefix}.attn.in_proj_weight": (3 * w, w), f"{prefix}.attn.in_proj_bias": (3 * w,),
            **linear(f"{prefix}.attn.out_proj", w, w), **norm(f"{prefix}.ln_1", w), **norm(f"{prefix}.ln_2", w),
            **linear(f"{prefix}.mlp.c_fc", w, 4 * w), **linear(f"{prefix}.mlp.c_proj", 4 * w, w)}


def linear(prefix, inner, outer):
    return {f"{prefix}.weight": (outer, inner), f"{prefix}.bias": (outer,)}


def norm(prefix, w):
    return {f"{prefix}.weight": (w,), f"{prefix}.bias": (w,)}


def shapes(prompts, vectors):
    w, patches = WIDTH, (IMAGE // PATCH) ** 2
    s = {"positional_embedding": (CONTEXT, w), "text_projection": (w, w), "logit_scale": (),
         "token_embedding.weight": (VOCABULARY, w), **norm("ln_final", w), "visual.class_embedding": (w,),
         "visual.positional_embedding": (patches + 1, w), "visual.proj": (w, w),
         "visual.conv1.weight": (w, 3, PATCH, PATCH), **norm("visual.ln_pre", w), **norm("visual.ln_post", w),
         "mit.positional_embedding": (1, T, w), **block("mit.resblocks.0", w)}
    for i in range(LAYERS):
        s.update(block(f"transformer.resblocks.{i}", w))
        own = f"visual.transformer.resblocks.{i}"
        s.update({**block(own, w), **linear(f"{own}.message_fc", w, w), **norm(f"{own}.message_ln", w),
                  **linear(f"{own}.message_attn.out_proj", w, w),
                  f"{own}.message_attn.in_proj_weight": (3 * w, w), f"{own}.message_attn.in_proj_bias": (3 * w,)})
    if vectors:
        s["prompts_context"] = (vectors, w)
    if prompts:
        s.update({"prompts_visual_proj": (w, w), "prompts_generator.alpha": (w,), **norm("prompts_visual_ln", w),
                  **norm("prompts_generator.norm", w)})
    for j in range(prompts):
        own = f"prompts_generator.decoder.{j}"
        s.update({**{f"{own}.cross_attn.{x}_proj.weight": (w, w) for x in "qkv"},
                  **linear(f"{own}.cross_attn.proj", w, w), **norm(f"{own}.norm1", w), **norm(f"{own}.norm3", w),
                  **linear(f"{own}.mlp.0", w, 4 * w), **linear(f"{own}.mlp.3", 4 * w, w)})
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
    model = xclip.XClip({n: fill("w:" + n, s[n], *center_and_scale(n, s[n])).astype(np.float64) for n in s})
    model = model.double()
    for n, p in model.named_parameters():
        p.requires_grad_(trained(n, o))
    video = torch.from_numpy(fill("variants:video", (B, T, 3, IMAGE, IMAGE), 0, 1.5).astype(np.float64))
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
