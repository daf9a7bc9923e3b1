"""Tensors of X-CLIP and CLIP by name and shape, and what other programs call them.

Written from the description of the layouts, apart from the table in src/models/weights: what both say is the same
only if both are right.
"""
import json
import re
import struct

import numpy as np
import torch

SIZES = {  # image, patch, vision width, vision layers, embedding, text width, text layers, context, vocabulary, T
    "tiny": (32, 8, 128, 3, 192, 64, 2, 16, 60, 4),
    "B/32": (224, 32, 768, 12, 512, 512, 12, 77, 49408, 8),
    "L/14": (224, 14, 1024, 24, 768, 768, 12, 77, 49408, 8),
}
COUNTS = {  # tensors in a complete file; numbers in native X-CLIP
    "B/32": {"clip": 302, "clip_hf": 398, "xclip": 443, "xclip_hf": 591, "numbers": 196585729},
    "L/14": {"clip": 446, "clip_hf": 590, "xclip": 683, "xclip_hf": 927, "numbers": 575673601},
}


def block(shapes, prefix, w):
    for norm in ("ln_1", "ln_2"):
        shapes[f"{prefix}{norm}.weight"] = shapes[f"{prefix}{norm}.bias"] = (w,)
    attention(shapes, f"{prefix}attn.", w)
    linear(shapes, f"{prefix}mlp.c_fc", 4 * w, w)
    linear(shapes, f"{prefix}mlp.c_proj", w, 4 * w)


def attention(shapes, prefix, w):
    shapes[f"{prefix}in_proj_weight"] = (3 * w, w)
    shapes[f"{prefix}in_proj_bias"] = (3 * w,)
    linear(shapes, f"{prefix}out_proj", w, w)


def linear(shapes, name, rows, columns):
    shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (rows, columns), (rows,)


def native_shapes(size):
    image, p, d, vision_layers, e, w, text_layers, context, vocabulary, T = SIZES[size]
    s = {"token_embedding.weight": (vocabulary, w), "positional_embedding": (context, w)}
    for i in range(text_layers):
        block(s, f"transformer.resblocks.{i}.", w)
    s["ln_final.weight"] = s["ln_final.bias"] = (w,)
    s["text_projection"], s["logit_scale"] = (w, e), ()
    s["visual.class_embedding"] = (d,)
    s["visual.positional_embedding"] = ((image // p) ** 2 + 1, d)
    s["visual.conv1.weight"] = (d, 3, p, p)
    for norm in ("visual.ln_pre", "visual.ln_post"):
        s[f"{norm}.weight"] = s[f"{norm}.bias"] = (d,)
    s["visual.proj"] = (d, e)
    for i in range(vision_layers):
        prefix = f"visual.transformer.resblocks.{i}."
        block(s, prefix, d)
        linear(s, f"{prefix}message_fc", d, d)
        s[f"{prefix}message_ln.weight"] = s[f"{prefix}message_ln.bias"] = (d,)
        attention(s, f"{prefix}message_attn.", d)
    s["mit.positional_embedding"] = (1, T, e)
    block(s, "mit.resblocks.0.", e)
    s["prompts_visual_ln.weight"] = s["prompts_visual_ln.bias"] = (d,)
    s["prompts_visual_proj"] = (d, e)
    s["prompts_generator.norm.weight"] = s["prompts_generator.norm.bias"] = (e,)
    s["prompts_generator.alpha"] = (e,)
    for j in range(2):
        prefix = f"prompts_generator.decoder.{j}."
        for x in "qkv":
            s[f"{prefix}cross_attn.{x}_proj.weight"] = (e, e)
        linear(s, f"{prefix}cross_attn.proj", e, e)
        for norm in ("norm1", "norm3"):
            s[f"{prefix}{norm}.weight"] = s[f"{prefix}{norm}.bias"] = (e,)
        linear(s, f"{prefix}mlp.0", 4 * e, e)
        linear(s, f"{prefix}mlp.3", e, 4 * e)
    return s


def random_native(size, seed=1):
    """Values of a trained model's magnitude; layer norms near 1."""
    torch.manual_seed(seed)
    tensors = {}
    for name, shape in native_shapes(size).items():
        x = torch.randn(shape)
        if name == "logit_scale":
            x = torch.tensor(2.6592)
        elif len(shape) < 2:
            x = 0.1 * x + (1.0 if re.search(r"(ln|norm)[^.]*\.weight$", name) else 0.0)
        else:
            x = x * shape[-1] ** -0.5
        tensors[name] = x
    return tensors


def is_clip(name):
    return not ("message_" in name or name.startswith(("mit.", "prompts_")))


# ---- other names ------------------------------------------------------------------------------

OUTSIDE = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layernorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "visual.proj": "visual_projection.weight",
    "prompts_visual_ln": "prompts_visual_layernorm",
    "prompts_visual_proj": "prompts_visual_projection",
    "mit.positional_embedding": "mit.position_embedding",
    "prompts_generator.norm": "prompts_generator.layernorm",
    "prompts_generator.alpha": "prompts_generator.alpha",
}
BLOCK = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
         "attn.out_proj": "self_attn.out_proj"}
TOWERS = {"transformer": "text_model.encoder", "visual.transformer": "vision_model.encoder", "mit": "mit.encoder"}


def to_hf(tensors, layout):
    """[(name, tensor)] of XCLIPModel ("xclip_hf") or CLIPModel ("clip_hf")."""
    out = {}
    for name, x in tensors.items():
        stem, _, ending = name.rpartition(".")
        inside = re.fullmatch(r"(transformer|visual\.transformer|mit)\.resblocks\.(\d+)\.(.*)", name)
        if inside:
            tower, layer, rest = inside.groups()
            prefix = f"{TOWERS[tower]}.layers.{layer}."
            qkv = re.fullmatch(r"(message_)?attn\.in_proj_(weight|bias)", rest)
            if qkv:
                own = "message_attn" if qkv[1] else "self_attn"
                for letter, third in zip("qkv", x.chunk(3)):
                    out[f"{prefix}{own}.{letter}_proj.{qkv[2]}"] = third.clone()
            else:
                part, _, kind = rest.rpartition(".")
                out[f"{prefix}{BLOCK.get(part, part)}.{kind}"] = x
        elif name in ("text_projection", "visual.proj"):
            out[OUTSIDE[name]] = x.t().contiguous()
        elif name in OUTSIDE:
            out[OUTSIDE[name]] = x
        elif stem in OUTSIDE:
            out[f"{OUTSIDE[stem]}.{ending}"] = x
        else:
            out[name] = x
    if layout == "clip_hf":
        out = {k.replace("pre_layernorm", "pre_layrnorm"): v for k, v in out.items()}
    return out


def to_layout(tensors, layout):
    clip = {k: v for k, v in tensors.items() if is_clip(k)}
    if layout == "xclip":
        return dict(tensors)
    if layout == "clip":
        return clip
    if layout in ("xclip_hf", "clip_hf"):
        return to_hf(tensors if layout == "xclip_hf" else clip, layout)
    visual = {k[len("visual."):]: v for k, v in clip.items() if k.startswith("visual.")}
    text = {k: v for k, v in clip.items() if not k.startswith("visual.") and k != "logit_scale"}
    scale = {"logit_scale": clip["logit_scale"]}
    if layout == "open_clip":
        return {**{f"visual.{k}": v for k, v in visual.items()}, **{f"text.{k}": v for k, v in text.items()}, **scale}
    assert layout == "vifi"
    del text["token_embedding.weight"]
    return {**{f"image_encoder.{k}": v for k, v in visual.items()},
            **{f"text_encoder.{k}": v for k, v in text.items()}, **scale}


# ---- safetensors ------------------------------------------------------------------------------

KINDS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


def bits(x):
    """A tensor's bytes, flat."""
    x = x.detach().contiguous()
    return (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy().reshape(-1).view(np.uint8)


def write_safetensors(path, tensors, metadata=None):
    header, at = ({"__metadata__": metadata} if metadata else {}), 0
    for name, x in tensors.items():
        n = x.numel() * x.element_size()
        kind = next(k for k, v in KINDS.items() if v == x.dtype)
        header[name] = {"dtype": kind, "shape": list(x.shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for x in tensors.values():
            f.write(bits(x).tobytes())


def read_safetensors(path):
    """{name: tensor}, mapped; the metadata."""
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(n))
    data = np.memmap(path, np.uint8, "r", 8 + n)
    out = {}
    metadata = header.pop("__metadata__", {})
    for name, t in header.items():
        begin, end = t["data_offsets"]
        raw = torch.from_numpy(np.array(data[begin:end]))
        out[name] = raw.view(KINDS[t["dtype"]]).reshape(t["shape"]) if end > begin else torch.zeros(t["shape"])
    return out, metadata
