"""X-CLIP in PyTorch, the peer that compare.py holds Crossframe against.

Written from the model's description, with the checkpoint's tensor names as parameter names, and for speed on
a CPU: frames are batched, query, key and value are one product, work whose result is dropped is left out.
"""
import json
import struct

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HEAD = 64


def read_safetensors(path):
    """All tensors of the file but the optimiser's, as {name: array}."""
    kinds = {"F32": np.float32, "F64": np.float64}
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(n)), f.read()
    out = {}
    for name, t in header.items():
        if name != "__metadata__" and not name.startswith("optimizer."):
            begin, end = t["data_offsets"]
            out[name] = np.frombuffer(data[begin:end], kinds[t["dtype"]]).reshape(t["shape"]).copy()
    return out


def write_safetensors(path, tensors):
    kinds = {"float32": "F32", "float64": "F64"}
    header, at = {}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": kinds[t.dtype.name], "shape": t.shape, "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.tobytes())


def attend(q, k, v, mask=None):
    """q [n, L, w], k and v [n, S, w] -> [n, L, w], in heads of 64."""
    n, L, w = q.shape
    h = w // HEAD
    q, k, v = (x.reshape(n, x.shape[1], h, HEAD).transpose(1, 2) for x in (q, k, v))
    if hasattr(F, "scaled_dot_product_attention"):
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    else:
        a = (q * HEAD**-0.5) @ k.transpose(-2, -1)
        if mask is not None:
            a = a + mask
        y = a.softmax(-1) @ v
    return y.transpose(1, 2).reshape(n, L, w)


class QuickGELU(torch.autograd.Function):
    """x sigmoid(1.702 x)"""

    @staticmethod
    def forward(ctx, x):
        s = (x * 1.702).sigmoid_()
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx, g):
        x, s = ctx.saved_tensors
        y = torch.addcmul(x, x, s, value=-1)  # the slope is s (1 + 1.702 x (1 - s))
        return y.mul_(1.702).add_(1).mul_(s).mul_(g)


class Attention(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * w, w))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * w))
        self.out_proj = nn.Linear(w, w)

    def forward(self, x, queries=None, mask=None):
        """queries: only the first so many rows ask."""
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        return self.out_proj(attend(q[:, :queries], k, v, mask))


class Block(nn.Module):
    def __init__(self, w, messages=False):
        super().__init__()
        if messages:
            self.message_fc, self.message_ln = nn.Linear(w, w), nn.LayerNorm(w)
            self.message_attn = Attention(w)
        self.attn, self.ln_1, self.ln_2 = Attention(w), nn.LayerNorm(w), nn.LayerNorm(w)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(w, 4 * w), "c_proj": nn.Linear(4 * w, w)})

    def forward(self, x, frames=None, mask=None):
        rows = x.shape[1]
        if frames is None:
            x = x + self.attn(self.ln_1(x), mask=mask)
        else:
            m = self.message_fc(x[:, 0]).reshape(-1, frames, x.shape[2])
            m = m + self.message_attn(self.message_ln(m))
            both = torch.cat([x, m.reshape(-1, 1, x.shape[2])], 1)
            x = x + self.attn(self.ln_1(both), queries=rows)
        return x + self.mlp["c_proj"](QuickGELU.apply(self.mlp["c_fc"](self.ln_2(x))))


class Blocks(nn.Module):
    def __init__(self, n, w, messages=False):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(w, messages) for _ in range(n))

    def forward(self, x, **options):
        for block in self.resblocks:
            x = block(x, **options)
        return x


class Vision(nn.Module):
    """Frames with messages between them, frames apart, or all frames' patches together (frames > 0)."""

    def __init__(self, layers, d, e, patches, patch, messages=True, frames=0):
        super().__init__()
        self.messages = messages
        self.temporal_embedding = nn.Parameter(torch.zeros(frames, d)) if frames else None
        self.class_embedding = nn.Parameter(torch.zeros(d))
        self.positional_embedding = nn.Parameter(torch.zeros(patches + 1, d))
        self.proj = nn.Parameter(torch.zeros(d, e))
        self.conv1 = nn.Conv2d(3, d, patch, patch, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(d), nn.LayerNorm(d)
        self.transformer = Blocks(layers, d, messages)

    def forward(self, video):
        """[b, T, 3, H, W] -> features of the frames [b, T, e] (joint: of the video [b, 1, e]), patches [b, T, N, d]"""
        b, T, _, H, W = video.shape
        d, _, p, _ = self.conv1.weight.shape
        x = video.reshape(b * T, 3, H // p, p, W // p, p).permute(0, 2, 4, 1, 3, 5).reshape(b * T, -1, 3 * p * p)
        x = F.linear(x, self.conv1.weight.reshape(d, -1))
        x = x + self.positional_embedding[1:]
        first = self.class_embedding + self.positional_embedding[0]
        if self.temporal_embedding is not None:
            x = (x.reshape(b, T, -1, d) + self.temporal_embedding[:, None]).reshape(b, -1, d)
        x = self.ln_pre(torch.cat([first.expand(len(x), 1, d), x], 1))
        x = self.transformer(x, frames=T if self.messages else None)
        if self.temporal_embedding is not None:
            return self.ln_post(x[:, :1]) @ self.proj, x[:, 1:].reshape(b, T, -1, d)
        return (self.ln_post(x[:, 0]) @ self.proj).reshape(b, T, -1), x[:, 1:].reshape(b, T, -1, d)


class Integration(nn.Module):
    def __init__(self, layers, e, T):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.zeros(1, T, e))
        self.resblocks = nn.ModuleList(Block(e) for _ in range(layers))

    def forward(self, h):
        x = h + self.positional_embedding
        for block in self.resblocks:
            x = block(x)
        return (x + h).mean(1)


class CrossAttention(nn.Module):
    def __init__(self, e):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(e, e, bias=False) for _ in range(3))
        self.proj = nn.Linear(e, e)

    def forward(self, x, y):
        q = self.q_proj(x).expand(len(y), -1, -1)
        return self.proj(attend(q, self.k_proj(y), self.v_proj(y)))


class PromptLayer(nn.Module):
    def __init__(self, e):
        super().__init__()
        self.cross_attn, self.norm1, self.norm3 = CrossAttention(e), nn.LayerNorm(e), nn.LayerNorm(e)
        self.mlp = nn.ModuleDict({"0": nn.Linear(e, 4 * e), "3": nn.Linear(4 * e, e)})

    def forward(self, x, y):
        x = x + self.cross_attn(self.norm1(x), y)
        return x + self.mlp["3"](QuickGELU.apply(self.mlp["0"](self.norm3(x))))


class Prompts(nn.Module):
    def __init__(self, layers, e):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(e))
        self.norm = nn.LayerNorm(e)
        self.decoder = nn.ModuleList(PromptLayer(e) for _ in range(layers))

    def forward(self, c, y):
        """c [K, e], y [b, N, e] -> [b, K, e]"""
        x, y = c[None], self.norm(y)  # the first layer's queries are the same for every video
        for layer in self.decoder:
            x = layer(x, y)
        return c + self.alpha * x


class XClip(nn.Module):
    """Sizes, parts and weights from `tensors`, {name: array}: a variant is told by what is there."""

    def __init__(self, tensors):
        super().__init__()
        shape = {name: t.shape for name, t in tensors.items()}

        def count(prefix):
            return len({name[len(prefix):].split(".")[0] for name in shape if name.startswith(prefix)})

        d, _, p, _ = shape["visual.conv1.weight"]
        e = shape["visual.proj"][1]
        rows = shape["visual.positional_embedding"][0]
        mit, prompts = count("mit.resblocks."), count("prompts_generator.decoder.")
        self.head = nn.Linear(e, len(tensors["head.bias"])) if "head.weight" in shape else None
        self.prompts_generator = Prompts(prompts, e) if prompts else None
        if prompts:
            self.prompts_visual_proj = nn.Parameter(torch.zeros(d, e))
            self.prompts_visual_ln = nn.LayerNorm(d)
        self.mit = Integration(mit, e, shape["mit.positional_embedding"][1]) if mit else None
        self.visual = Vision(
            count("visual.transformer.resblocks."), d, e, rows - 1, p,
            "visual.transformer.resblocks.0.message_fc.weight" in shape,
            shape.get("visual.temporal_embedding", [0])[0])
        if self.head is None:
            self.add_text(shape, count("transformer.resblocks."))
        self.load_state_dict({name: torch.from_numpy(t) for name, t in tensors.items()})
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(any(part in name for part in ("visual.", "mit", "prompts", "head.")))

    def add_text(self, shape, layers):
        w, e = shape["text_projection"]
        self.positional_embedding = nn.Parameter(torch.zeros(shape["positional_embedding"]))
        self.text_projection = nn.Parameter(torch.zeros(w, e))
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.transformer = Blocks(layers, w)
        self.token_embedding = nn.Embedding(*shape["token_embedding.weight"])
        self.ln_final = nn.LayerNorm(w)
        vectors = shape.get("prompts_context")
        self.prompts_context = nn.Parameter(torch.zeros(vectors)) if vectors else None

    def encode_text(self, tokens):
        """[K, context] -> [K, e]; the vectors, if there are any, stand behind the start token"""
        x, end, n = self.token_embedding(tokens), tokens.argmax(1), tokens.shape[1]
        if self.prompts_context is not None:
            vectors = self.prompts_context.expand(len(x), -1, -1)
            x, end = torch.cat([x[:, :1], vectors, x[:, 1:]], 1)[:, :n], end + vectors.shape[1]
            assert end.max() < n
        mask = torch.full((n, n), -torch.inf, dtype=self.text_projection.dtype).triu(1)
        x = self.transformer(x + self.positional_embedding[:n], mask=mask)
        return self.ln_final(x[torch.arange(len(x)), end]) @ self.text_projection

    @torch.no_grad()
    def text(self, tokens):
        return self.encode_text(tokens)

    def forward(self, video, text):
        """[b, T, 3, H, W], [K, e] (not looked at with a head) -> logits [b, K]"""
        h, patches = self.visual(video)
        v = self.mit(h) if self.mit else h.mean(1)
        if self.head:
            return self.head(v)
        if self.prompts_generator:
            y = self.prompts_visual_ln(patches).mean(1) @ self.prompts_visual_proj
            text = self.prompts_generator(text, y)
        c, v = F.normalize(text, dim=-1, eps=0), F.normalize(v, dim=-1, eps=0)
        return self.logit_scale.exp() * (c @ v[:, :, None])[..., 0]


def make_optimizer(model, lr, weight_decay):
    groups = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            new = any(part in name for part in ("mit", "prompts", "message_", "temporal_embedding", "head."))
            decays = p.ndim > 1 and not name.endswith(".bias") and not name.endswith(("positional_embedding", "temporal_embedding"))
            groups.setdefault((new, decays), []).append(p)
    return torch.optim.AdamW(
        [{"params": ps, "lr": lr * (10 if new else 1), "base": lr * (10 if new else 1),
          "weight_decay": weight_decay if decays else 0.0} for (new, decays), ps in groups.items()],
        betas=(0.9, 0.98), eps=1e-8, foreach=True)


def train_step(model, optimizer, video, text, target, clip):
    optimizer.zero_grad(set_to_none=True)
    loss = F.cross_entropy(model(video, text), target)
    loss.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.stack(torch._foreach_norm(grads)).norm().item()
    if norm > clip:
        torch._foreach_mul_(grads, clip / norm)
    optimizer.step()
    return loss.item()
