"""@NAME@, epoch @EPOCH@, as a PyTorch module. Written by emberlens @VERSION@.

    python FILE.py @PLACE@ IMAGE...     prints the most probable class of each image

Needs torch, safetensors, numpy and Pillow. Weights are loaded from that folder.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

CLASSES = @CLASSES@
# Files, and scale and offset of each channel, of each network.
NETWORKS = [
@NETWORKS@
]
MODE, HEIGHT, WIDTH = "@MODE@", @HEIGHT@, @WIDTH@
FILTER = Image.Resampling.@FILTER@
TEMPERATURE = @TEMPERATURE@


def levels(path):
    """Returns an image as the network takes it, `[channels, height, width]` of 0 to 255."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.has_transparency_data:
        pixels = np.asarray(image.convert("RGBA")).astype(int)
        alpha = pixels[..., 3:]
        over_white = (pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
        image = Image.fromarray(over_white.astype(np.uint8))
    image = image.convert(MODE)
@RESIZE@
    pixels = np.asarray(image, np.float32).reshape(HEIGHT, WIDTH, -1)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


class Network(nn.Module):
    """Computes logits: `[batch, channels, height, width]` to `[batch, @LOGITS@]`."""

    def __init__(self, scale, offset):
        super().__init__()
        for name, values in [("scale", scale), ("offset", offset)]:
            values = torch.tensor(values).view(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)
@LAYERS@
        for path, layer in layers.items():
            *folders, name = path.split(".")
            module = self
            for folder in folders:
                if not hasattr(module, folder):
                    module.add_module(folder, nn.Module())
                module = getattr(module, folder)
            module.add_module(name, layer)

    def forward(self, x):
        at = self.get_submodule
@FORWARD@
        return x


@ENSEMBLE@class Scale(nn.Module):
    """Multiplies each channel by a factor."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return x * self.scale.view(-1, 1, 1)


class Tokens(nn.Module):
    """Puts a class token before patches, and adds embeddings of their positions."""

    def __init__(self, channels, rows, columns):
        super().__init__()
        self.grid = rows, columns
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + rows * columns, channels))

    def forward(self, x):
        embeddings = self.pos_embed.mT
        first, rest = embeddings[..., :1] + self.cls_token.mT, embeddings[..., 1:]
        rest = rest.unflatten(2, self.grid)
        if x.shape[2:] != rest.shape[2:]:
            rest = F.interpolate(rest, x.shape[2:], mode="bicubic", antialias=True)
        patches = (x + rest).flatten(2)
        return torch.cat([first.expand(len(x), -1, -1), patches], 2).unsqueeze(3)


def load(folder):
    """Returns @WHAT@ with the weights in the folder @PLACE@."""
    networks = []
    for files, scale, offset in NETWORKS:
        weights = {}
        for file in files:
            weights |= load_file(Path(folder) / file)
        network = Network(scale, offset)
        # Checkpoints don't count the batches of norms.
        state = network.state_dict().items()
        counts = {name: count for name, count in state if "num_batches" in name}
        network.load_state_dict(weights | counts)
        networks.append(network)
    return @LOADED@.eval()


def probabilities(network, images):
    """Returns the probability of each class, `[batch, classes]`."""
@MEAN@    logits = network(images) / TEMPERATURE
    if len(CLASSES) == logits.shape[1]:
        return logits.softmax(1)
    second = logits.sigmoid()
    return torch.cat([1 - second, second], 1)


if __name__ == "__main__":
    network = load(sys.argv[1])
    for path in sys.argv[2:]:
        with torch.no_grad():
            row = probabilities(network, levels(path)[None])[0]
        print(path, CLASSES[row.argmax()], float(row.max()))
