"""Reference maps of src/explain/: pip install torch torchvision grad-cam safetensors; python grad_cam.py

pytorch-grad-cam on the narrow networks of backbones.py (tests/golden/vgg.pth, vgg_bn.pth) and its formula images: Grad-CAM, Grad-CAM++ and
LayerCAM for every class, on the output of two blocks; `raw` before its scaling and, of some, `map` as it returns them."""
import os
import numpy as np, torch, torchvision
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.numpy import save_file
from torch import nn

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden")
NARROW = [[4, 6], [6, 8], [8, 8, 8], [8, 10, 8], [8, 8, 12]]
SIZE = (44, 70)
CLASSES = 5


def images(count, height, width):
    """As in backbones.py, normalised."""
    n = np.arange(1, count * 3 * height * width + 1, dtype=np.uint64)
    x = ((n * n * np.uint64(2654435761) % np.uint64(1 << 32)) >> np.uint64(24)).astype(np.float32).reshape(count, 3, height, width)
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    return torch.from_numpy((x / 255 - mean[:, None, None]) / std[:, None, None])


def network(name, batch_norm):
    cfg = [c for block in NARROW for c in [*block, "M"]]
    net = torchvision.models.VGG(torchvision.models.vgg.make_layers(cfg, batch_norm), init_weights=False)
    net.avgpool = nn.Identity()
    net.classifier = nn.Sequential(nn.Linear(12 * (SIZE[0] // 32) * (SIZE[1] // 32), 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, CLASSES))
    net.load_state_dict(torch.load(os.path.join(HERE, name)))
    # In place, the ReLUs would change what the hooks keep.
    for m in net.modules():
        if isinstance(m, nn.ReLU):
            m.inplace = False
    return net.eval()


def main():
    out = {}
    for name, batch_norm in (("vgg", False), ("vgg_bn", True)):
        net = network(f"{name}.pth", batch_norm)
        pools = [m for m in net.features if isinstance(m, nn.MaxPool2d)]
        x = images(2, *SIZE)
        for method, kind in (("grad_cam", GradCAM), ("grad_cam_plus_plus", GradCAMPlusPlus), ("layer_cam", LayerCAM)):
            for group in (2, 4):
                for target in range(CLASSES):
                    with kind(model=net, target_layers=[pools[group]]) as cam:
                        targets = [ClassifierOutputTarget(target)] * len(x)
                        found = cam(input_tensor=x, targets=targets)
                        grads = cam.activations_and_grads.gradients[0].numpy()
                        activations = cam.activations_and_grads.activations[0].detach().numpy()
                        raw = cam.get_cam_image(x, pools[group], targets, activations, grads, False)
                    key = f"{name}.{method}.{group}.{target}"
                    out[f"{key}.raw"] = raw.astype(np.float32)
                    if target < 3 and method == "grad_cam" and not batch_norm:
                        out[f"{key}.map"] = found.astype(np.float32)
    save_file(out, os.path.join(HERE, "grad_cam.safetensors"))
    raw = [v for k, v in out.items() if k.endswith("raw")]
    print(sum(v.nbytes for v in out.values()), "bytes;", sum((v > 0).any(axis=(1, 2)).sum() for v in raw), "of", 2 * len(raw), "have positive evidence")


if __name__ == "__main__":
    main()
