"""XCLIPModel in PyTorch: parameters under Hugging Face's names, everything read from the folder that
`crossframe convert --naming hf` writes. Written from the description of the layout and of the model, plainly: query,
key and value apart, the message token really appended and dropped, prompts projected frame by frame.
"""
import json
import os

import torch
import torch.nn.functional as F
from torch import nn


def quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, mask=None):
        n, length, width = x.shape

        def split(y):
            return y.reshape(n, length, self.heads, width // self.heads).permute(0, 2, 1, 3)

        scores = split(self.q_proj(x)) @ split(self.k_proj(x)).transpose(-1, -2) * (width // self.heads) ** -0.5
        if mask is not None:
            scores = scores + mask
        y = scores.softmax(-1) @ split(self.v_proj(x))
        return self.out_proj(y.permute(0, 2, 1, 3).reshape(n, length, width))


class MLP(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x):
        return self.fc2(quick_gelu(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, width, inner, heads, eps):
        super().__init__()
        self.self_attn, self.mlp = Attention(width, heads), MLP(width, inner)
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)

    def forward(self, x, mask=None):
        x = x + self.self_attn(self.layer_norm1(x), mask)
        return x + self.mlp(self.layer_norm2(x))


class VisionLayer(Layer):
    def __init__(self, width, inner, heads, eps, frames):
        super().__init__(width, inner, heads, eps)
        self.frames = frames
        self.message_fc, self.message_ln = nn.Linear(width, width), nn.LayerNorm(width, eps)
        self.message_attn = Attention(width, heads)

    def forward(self, x):
        n, length, width = x.shape
        message = self.message_fc(x[:, 0]).view(n // self.frames, self.frames, width)
        message = message + self.message_attn(self.message_ln(message))
        x = torch.cat([x, message.view(n, 1, width)], 1)
        x = x + self.self_attn(self.layer_norm1(x))
        x = x[:, :length]
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x, **options):
        for layer in self.layers:
            x = layer(x, **options)
        return x


class TextEmbeddings(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.token_embedding = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.position_embedding = nn.Embedding(c["max_position_embeddings"], c["hidden_size"])


class TextModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        w, eps = c["hidden_size"], c["layer_norm_eps"]
        self.embeddings = TextEmbeddings(c)
        self.encoder = Encoder(Layer(w, c["intermediate_size"], c["num_attention_heads"], eps)
                               for _ in range(c["num_hidden_layers"]))
        self.final_layer_norm = nn.LayerNorm(w, eps)

    def forward(self, ids):
        length = ids.shape[1]
        mask = torch.full((length, length), float("-inf")).triu(1)
        x = self.embeddings.token_embedding(ids) + self.embeddings.position_embedding(torch.arange(length))
        x = self.final_layer_norm(self.encoder(x, mask=mask))
        return x[torch.arange(len(x)), ids.argmax(-1)]


class VisionEmbeddings(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, p = c["hidden_size"], c["patch_size"]
        self.class_embedding = nn.Parameter(torch.zeros(d))
        self.patch_embedding = nn.Conv2d(3, d, p, p, bias=False)
        self.position_embedding = nn.Embedding((c["image_size"] // p) ** 2 + 1, d)

    def forward(self, pixels):
        x = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1)
        return x + self.position_embedding.weight


class VisionModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, eps = c["hidden_size"], c["layer_norm_eps"]
        self.embeddings = VisionEmbeddings(c)
        self.pre_layernorm, self.post_layernorm = nn.LayerNorm(d, eps), nn.LayerNorm(d, eps)
        self.encoder = Encoder(VisionLayer(d, c["intermediate_size"], c["num_attention_heads"], eps, c["num_frames"])
                               for _ in range(c["num_hidden_layers"]))

    def forward(self, pixels):
        """[n, 3, H, W] -> class features [n, d], patch tokens [n, N, d]"""
        x = self.encoder(self.pre_layernorm(self.embeddings(pixels)))
        return self.post_layernorm(x[:, 0]), x[:, 1:]


class Integration(nn.Module):
    def __init__(self, c, eps):
        super().__init__()
        e = c["mit_hidden_size"]
        self.position_embedding = nn.Parameter(torch.zeros(1, c["num_frames"], e))
        self.encoder = Encoder(Layer(e, c["mit_intermediate_size"], c["mit_num_attention_heads"], eps)
                               for _ in range(c["mit_num_hidden_layers"]))

    def forward(self, h):
        return (self.encoder(h + self.position_embedding) + h).mean(1)


class CrossAttention(nn.Module):
    def __init__(self, e, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(e, e, bias=False) for _ in range(3))
        self.proj = nn.Linear(e, e)

    def forward(self, text, video):
        b, K, e = text.shape

        def split(y):
            return y.reshape(b, y.shape[1], self.heads, e // self.heads).permute(0, 2, 1, 3)

        scores = split(self.q_proj(text)) @ split(self.k_proj(video)).transpose(-1, -2) * (e // self.heads) ** -0.5
        y = scores.softmax(-1) @ split(self.v_proj(video))
        return self.proj(y.permute(0, 2, 1, 3).reshape(b, K, e))


class QuickGELU(nn.Module):
    def forward(self, x):
        return quick_gelu(x)


class PromptLayer(nn.Module):
    def __init__(self, e, heads):
        super().__init__()
        self.cross_attn = CrossAttention(e, heads)
        self.norm1, self.norm3 = nn.LayerNorm(e), nn.LayerNorm(e)
        self.mlp = nn.Sequential(nn.Linear(e, 4 * e), QuickGELU(), nn.Dropout(0.0), nn.Linear(4 * e, e))

    def forward(self, x, y):
        x = x + self.cross_attn(self.norm1(x), y)
        return x + self.mlp(self.norm3(x))


class PromptGenerator(nn.Module):
    def __init__(self, c):
        super().__init__()
        e = c["projection_dim"]
        self.layernorm = nn.LayerNorm(e)
        self.decoder = nn.ModuleList(PromptLayer(e, c["prompt_num_attention_heads"]) for _ in range(c["prompt_layers"]))
        self.alpha = nn.Parameter(torch.full((e,), c["prompt_alpha"]))

    def forward(self, text, video):
        video = self.layernorm(video)
        for layer in self.decoder:
            text = layer(text, video)
        return self.alpha * text


class XCLIPModel(nn.Module):
    def __init__(self, folder, tensors):
        """config.json of the folder decides everything; the tensors must be exactly the parameters."""
        super().__init__()
        with open(os.path.join(folder, "config.json")) as f:
            c = json.load(f)
        assert c["architectures"] == ["XCLIPModel"] and c["model_type"] == "xclip"
        assert {c[k].get("hidden_act") for k in ("text_config", "vision_config")} == {"quick_gelu"}
        text, vision, e = c["text_config"], c["vision_config"], c["projection_dim"]
        d = vision["hidden_size"]
        self.text_model, self.vision_model = TextModel(text), VisionModel(vision)
        self.text_projection = nn.Linear(text["hidden_size"], e, bias=False)
        self.visual_projection = nn.Linear(d, e, bias=False)
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.mit = Integration(vision, vision["layer_norm_eps"])
        self.prompts_visual_layernorm = nn.LayerNorm(d, vision["layer_norm_eps"])
        self.prompts_visual_projection = nn.Parameter(torch.zeros(d, e))
        self.prompts_generator = PromptGenerator(c)
        self.load_state_dict(tensors, strict=True)

    @torch.no_grad()
    def forward(self, video, ids):
        """[b, T, 3, H, W], [K, context] -> logits [b, K]"""
        b, T = video.shape[:2]
        cls, patches = self.vision_model(video.flatten(0, 1))
        h = self.visual_projection(cls).view(b, T, -1)
        v = self.mit(h)
        y = self.prompts_visual_layernorm(patches) @ self.prompts_visual_projection
        y = y.view(b, T, y.shape[1], -1).mean(1)
        c = self.text_projection(self.text_model(ids)).expand(b, -1, -1)
        c = c + self.prompts_generator(c, y)
        v, c = F.normalize(v, dim=-1), F.normalize(c, dim=-1)
        return self.logit_scale.exp() * torch.einsum("be,bke->bk", v, c)
