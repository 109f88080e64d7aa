"""Writes tests/data/nat.safetensors: a tiny DiNAT with random weights, an image and its logits.

    <cache>/foveate/bench-env/bin/python bench/make_nat_golden.py tests/data/nat.safetensors

The model is written here from the papers (arXiv 2204.07143, 2209.15001) in PyTorch, in float64, with
neighborhood attention as a mask over all tokens: it shares no code and no tiling with src/vision.
It has the parameter names of the authors' checkpoints.
"""

import json
import struct
import sys

import torch
from torch import nn

CHANNELS, WINDOW = 8, 3
HEADS = [2, 2, 4]
DILATIONS = [[1, 3], [1, 2], [1]]  # a window of 3 x 2 is more than the second grid's rows: zeros


def neighbors(length, dilation):
    """Whether coordinate x sees y, and the index of y - x in a table of biases; both [x, y]."""
    sees = torch.zeros(length, length, dtype=torch.bool)
    for x in range(length):
        group, member = x % dilation, x // dilation
        members = -(-(length - group) // dilation)
        first = min(max(member - WINDOW // 2, 0), members - WINDOW)
        for other in range(first, first + WINDOW):
            sees[x, group + other * dilation] = True
    at = torch.arange(length)
    index = torch.div(at[None, :] - at[:, None], dilation, rounding_mode="floor") + WINDOW - 1
    return sees, index.clamp(0, 2 * WINDOW - 2)


class Attention(nn.Module):
    def __init__(self, channels, heads, dilation):
        super().__init__()
        self.heads, self.dilation = heads, dilation
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.rpb = nn.Parameter(torch.zeros(heads, 2 * WINDOW - 1, 2 * WINDOW - 1))

    def forward(self, x):  # [B, H, W, C]
        rows, columns = x.shape[1:3]
        least = WINDOW * self.dilation
        x = nn.functional.pad(x, (0, 0, 0, max(least - columns, 0), 0, max(least - rows, 0)))
        b, h, w, c = x.shape
        q, k, v = (
            part.reshape(b, h * w, self.heads, c // self.heads).transpose(1, 2)
            for part in self.qkv(x).split(c, dim=-1)
        )
        (sees_row, row_index), (sees_column, column_index) = (
            neighbors(length, self.dilation) for length in (h, w)
        )
        sees = (sees_row[:, None, :, None] & sees_column[None, :, None, :]).reshape(h * w, h * w)
        bias = self.rpb[:, row_index[:, None, :, None], column_index[None, :, None, :]]
        scores = q @ k.transpose(-1, -2) * (c // self.heads) ** -0.5
        scores = scores + bias.reshape(self.heads, h * w, h * w)
        weights = scores.masked_fill(~sees, -torch.inf).softmax(dim=-1)
        out = (weights @ v).transpose(1, 2).reshape(b, h, w, c)
        return self.proj(out[:, :rows, :columns])


class Mlp(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, 3 * channels), nn.Linear(3 * channels, channels)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, channels, heads, dilation, scaled):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn, self.mlp = Attention(channels, heads, dilation), Mlp(channels)
        if scaled:
            self.gamma1 = nn.Parameter(torch.ones(channels))
            self.gamma2 = nn.Parameter(torch.ones(channels))
        self.scaled = scaled

    def forward(self, x):
        first, second = (self.gamma1, self.gamma2) if self.scaled else (1, 1)
        x = x + first * self.attn(self.norm1(x))
        return x + second * self.mlp(self.norm2(x))


def halve(convolution, x):
    return convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.reduction = nn.Conv2d(channels, 2 * channels, 3, 2, 1, bias=False)
        self.norm = nn.LayerNorm(2 * channels)

    def forward(self, x):
        return self.norm(halve(self.reduction, x))


class Level(nn.Module):
    def __init__(self, index):
        super().__init__()
        channels = CHANNELS << index
        self.blocks = nn.ModuleList(
            Block(channels, HEADS[index], dilation, scaled=index == 1)
            for dilation in DILATIONS[index]
        )
        self.downsample = Downsample(channels) if index + 1 < len(HEADS) else nn.Identity()

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class PatchEmbed(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Sequential(
            nn.Conv2d(3, CHANNELS // 2, 3, 2, 1), nn.Conv2d(CHANNELS // 2, CHANNELS, 3, 2, 1)
        )
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, x):
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class Nat(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.patch_embed = PatchEmbed()
        self.levels = nn.ModuleList(Level(index) for index in range(len(HEADS)))
        channels = CHANNELS << len(HEADS) - 1
        self.norm, self.head = nn.LayerNorm(channels), nn.Linear(channels, classes)

    def forward(self, x):
        x = self.patch_embed(x)
        for level in self.levels:
            x = level(x)
        return self.head(self.norm(x).flatten(1, 2).mean(dim=1))


def write_safetensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        raw = tensor.contiguous().to(torch.float32).numpy().tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    torch.manual_seed(3)
    model = Nat(classes=10).double()
    with torch.no_grad():
        for parameter in model.parameters():  # rounded, as the file stores them
            parameter += 0.3 * torch.randn_like(parameter) / max(1, parameter[0].numel()) ** 0.5
            parameter.copy_(parameter.float().double())
        tensors = dict(model.state_dict())
        for name, shape in {"odd": (37, 45), "tiny": (5, 3)}.items():
            image = torch.randn(1, 3, *shape).float().double()
            tensors[f"image.{name}"] = image[0]
            tensors[f"logits.{name}"] = model(image)[0]
    write_safetensors(sys.argv[1], tensors, {"dilations": json.dumps(DILATIONS)})


if __name__ == "__main__":
    main()
