#!/usr/bin/python3
"""Writes tests/golden/variants.h5: logits, loss and gradients of the model's variants, computed in double
precision by the PyTorch writing in bench/peer/xclip.py, for tests/models/test_variants.c.

    python3 make_variants.py [OUT]            (PyTorch, h5py, numpy)

Weights, pictures, class features and targets follow the fill rule of README.md; which center and scale a tensor
has is stored. Of each gradient the norm and 16 elements are kept, element j at (104729 j + 17) mod n.
"""
import os
import sys

import h5py
import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "bench", "peer"))
import xclip  # noqa: E402

SIZES = {"image": 32, "patch": 16, "vision_width": 128, "vision_layers": 2, "embed": 64, "text_width": 64,
         "text_layers": 1, "context": 8, "vocabulary": 16, "batch": 2, "classes": 5}
VARIANTS = {  # video, frames, MIT layers, prompt layers, head
    "cct_fc": ("cct", 3, 1, 0, True),
    "mean": ("mean", 3, 0, 0, False),
    "mean_fc": ("mean", 3, 0, 0, True),
    "one": ("mean", 1, 0, 0, False),
    "one_prompts": ("mean", 1, 0, 2, False),
    "joint": ("joint", 3, 0, 0, False),
    "joint_prompts": ("joint", 3, 0, 2, False),
    "joint_fc": ("joint", 3, 0, 0, True),
}
SAMPLES = 16


def fnv1a64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def values(key, shape, center, scale):
    """The fill rule of README.md, in float32 arithmetic; as double."""
    n = int(np.prod(shape, dtype=np.int64))
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a64(key)) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    u = (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    filled = np.float32(center) + np.float32(scale) * (np.float32(2) * u - np.float32(1))
    return filled.astype(np.float64).reshape(shape)


def block(prefix, w):
    return {f"{prefix}.attn.in_proj_weight": (3 * w, w), f"{prefix}.attn.in_proj_bias": (3 * w,),
            f"{prefix}.attn.out_proj.weight": (w, w), f"{prefix}.attn.out_proj.bias": (w,),
            f"{prefix}.ln_1.weight": (w,), f"{prefix}.ln_1.bias": (w,),
            f"{prefix}.ln_2.weight": (w,), f"{prefix}.ln_2.bias": (w,),
            f"{prefix}.mlp.c_fc.weight": (4 * w, w), f"{prefix}.mlp.c_fc.bias": (4 * w,),
            f"{prefix}.mlp.c_proj.weight": (w, 4 * w), f"{prefix}.mlp.c_proj.bias": (w,)}


def prompt_shapes(layers, d, e):
    s = {"prompts_visual_ln.weight": (d,), "prompts_visual_ln.bias": (d,), "prompts_visual_proj": (d, e),
         "prompts_generator.alpha": (e,), "prompts_generator.norm.weight": (e,), "prompts_generator.norm.bias": (e,)}
    for j in range(layers):
        p = f"prompts_generator.decoder.{j}"
        for x in "qkv":
            s[f"{p}.cross_attn.{x}_proj.weight"] = (e, e)
        s.update({f"{p}.cross_attn.proj.weight": (e, e), f"{p}.cross_attn.proj.bias": (e,),
                  f"{p}.norm1.weight": (e,), f"{p}.norm1.bias": (e,), f"{p}.norm3.weight": (e,), f"{p}.norm3.bias": (e,),
                  f"{p}.mlp.0.weight": (4 * e, e), f"{p}.mlp.0.bias": (4 * e,),
                  f"{p}.mlp.3.weight": (e, 4 * e), f"{p}.mlp.3.bias": (e,)})
    return s


def shapes(sizes, video, frames, mit, prompts, head):
    """Of each tensor by name. `sizes` has the keys of SIZES but batch."""
    d, e, w, p = (sizes[k] for k in ("vision_width", "embed", "text_width", "patch"))
    s = {"visual.class_embedding": (d,), "visual.positional_embedding": ((sizes["image"] // p) ** 2 + 1, d),
         "visual.proj": (d, e), "visual.conv1.weight": (d, 3, p, p), "visual.ln_pre.weight": (d,),
         "visual.ln_pre.bias": (d,), "visual.ln_post.weight": (d,), "visual.ln_post.bias": (d,)}
    for i in range(sizes["vision_layers"]):
        prefix = f"visual.transformer.resblocks.{i}"
        s.update(block(prefix, d))
        if video == "cct":
            s.update({f"{prefix}.message_fc.weight": (d, d), f"{prefix}.message_fc.bias": (d,),
                      f"{prefix}.message_ln.weight": (d,), f"{prefix}.message_ln.bias": (d,)})
            s.update({f"{prefix}.message_{name[len(prefix) + 1:]}": shape
                      for name, shape in block(prefix, d).items() if ".attn." in name})
    if video == "joint":
        s["visual.temporal_embedding"] = (frames, d)
    if mit:
        s["mit.positional_embedding"] = (1, frames, e)
        for i in range(mit):
            s.update(block(f"mit.resblocks.{i}", e))
    if prompts:
        s.update(prompt_shapes(prompts, d, e))
    if head:
        s.update({"head.weight": (sizes["classes"], e), "head.bias": (sizes["classes"],)})
        return s
    s.update({"positional_embedding": (sizes["context"], w), "text_projection": (w, e), "logit_scale": (),
              "token_embedding.weight": (sizes["vocabulary"], w), "ln_final.weight": (w,), "ln_final.bias": (w,)})
    for i in range(sizes["text_layers"]):
        s.update(block(f"transformer.resblocks.{i}", w))
    return s


def rule_of(name, shape):
    """center, scale"""
    part = name.rsplit(".", 2)[-2] if "." in name else name
    if name == "logit_scale":
        return 2.0, 0.0
    if name.endswith(("embedding", "alpha")):
        return 0.1, 0.3
    if name.endswith(".weight") and (part.startswith(("ln_", "norm", "message_ln")) or part.endswith("_ln")):
        return 1.0, 0.2
    if len(shape) < 2:
        return 0.0, 0.1
    fan_in = shape[0] if name.endswith("proj") else int(np.prod(shape[1:]))
    return 0.0, float((3 / fan_in) ** 0.5)


def run(out, name, variant):
    video, frames, mit, prompts, head = variant
    b, K, e, S = (SIZES[k] for k in ("batch", "classes", "embed", "image"))
    tensors, rules = {}, {}
    for key, shape in shapes(SIZES, *variant).items():
        rules[key] = rule_of(key, shape)
        tensors[key] = values("w:" + key, shape, *rules[key])
    model = xclip.XClip(tensors)
    pictures = torch.from_numpy(values("variants:video", (b, frames, 3, S, S), 0, 1.5))
    text = torch.from_numpy(values("variants:text", (K, e), 0, 1))
    target = values("variants:target", (b, K), 0.5, 0.5)
    target = (target / target.sum(1, keepdims=True)).astype(np.float32).astype(np.float64)
    logits = model(pictures, text)
    loss = -(torch.from_numpy(target) * logits.log_softmax(1)).sum(1).mean()
    loss.backward()
    group = out.create_group(name)
    group.attrs.update({"video": video, "frames": frames, "mit_layers": mit, "prompt_layers": prompts, "head": int(head)})
    group["logits"], group["loss"], group["target"] = logits.detach().numpy(), loss.detach().numpy(), target
    trained = [key for key, parameter in model.named_parameters() if parameter.requires_grad]
    grads = [dict(model.named_parameters())[key].grad.numpy().ravel() for key in trained]
    group["all"] = np.array(list(tensors), h5py.string_dtype())
    group["rule"] = np.array([rules[key] for key in tensors])
    group["trained"] = np.array(trained, h5py.string_dtype())
    group["norm"] = np.array([np.linalg.norm(g) for g in grads])
    group["sample"] = np.array([g[(104729 * np.arange(SAMPLES) + 17) % len(g)] for g in grads])
    print(f"{name}: {len(tensors)} tensors, {len(trained)} trained, loss {loss.item():.6f}, "
          f"logits {logits.min().item():.3f} to {logits.max().item():.3f}")


def main():
    torch.set_default_dtype(torch.float64)
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "variants.h5")
    with h5py.File(path, "w", libver="earliest") as out:
        out.attrs.update(SIZES)
        for name, variant in VARIANTS.items():
            run(out, name, variant)


if __name__ == "__main__":
    main()
