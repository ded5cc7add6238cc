"""Reference files of src/nn/pretrained/: pip install torch torchvision keras h5py safetensors; python backbones.py

Narrow networks in torchvision's and Keras's own layers with random weights, saved in every format that is read, and what they make of
formula images; SqueezeNet 1.1 at full width with formula weights. `--full DIR` writes VGG16, VGG16-BN (torchvision) and VGG16 (Keras) at
full width there, for scripts/full-width."""
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import h5py, keras, numpy as np, torch, torchvision
from safetensors.numpy import save_file
from torch import nn

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden")
NARROW = [[4, 6], [6, 8], [8, 8, 8], [8, 10, 8], [8, 8, 12]]
SIZE = (44, 70)


def levels(count, height, width):
    """Grey levels [count, 3, height, width] from a formula that the test has too."""
    n = np.arange(1, count * 3 * height * width + 1, dtype=np.uint64)
    return ((n * n * np.uint64(2654435761) % np.uint64(1 << 32)) >> np.uint64(24)).astype(np.float32).reshape(count, 3, height, width)


def imagenet(x):
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    return (x / 255 - mean[:, None, None]) / std[:, None, None]


def randomize(net):
    for m in net.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            fan = m.weight[0].numel()
            nn.init.normal_(m.weight, std=(2 / fan) ** 0.5)
            nn.init.normal_(m.bias, std=0.1)
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.1)
            nn.init.normal_(m.running_mean, std=0.3)
            nn.init.uniform_(m.running_var, 0.5, 2.0)


def narrow(batch_norm):
    cfg = [c for block in NARROW for c in [*block, "M"]]
    net = torchvision.models.VGG(torchvision.models.vgg.make_layers(cfg, batch_norm), init_weights=False)
    net.avgpool = nn.Identity()
    features = 12 * (SIZE[0] // 32) * (SIZE[1] // 32)
    net.classifier = nn.Sequential(nn.Linear(features, 10), nn.ReLU(True), nn.Dropout(), nn.Linear(10, 9), nn.ReLU(True), nn.Dropout(), nn.Linear(9, 5))
    randomize(net)
    return net.eval()


def keras_vgg(blocks, size):
    x = inputs = keras.layers.Input((*size, 3))
    for b, block in enumerate(blocks):
        for c, channels in enumerate(block):
            x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"block{b + 1}_conv{c + 1}", bias_initializer=keras.initializers.RandomNormal(stddev=0.1), kernel_initializer="he_normal")(x)
        x = keras.layers.MaxPooling2D(2, strides=2, name=f"block{b + 1}_pool")(x)
    return keras.Model(inputs, x, name="vgg16")


def keras_features(net, x):
    pixels = keras.applications.vgg16.preprocess_input(np.ascontiguousarray(x.transpose(0, 2, 3, 1)).copy())
    return np.ascontiguousarray(net.predict(pixels, verbose=0).transpose(0, 3, 1, 2))


def run(net, x):
    with torch.no_grad():
        x = torch.from_numpy(imagenet(x))
        return net.features(x).numpy(), net(x).numpy()


torch.manual_seed(1)
keras.utils.set_random_seed(1)
if len(sys.argv) == 3 and sys.argv[1] == "--full":
    folder, out, x = sys.argv[2], {}, levels(2, 224, 224)
    for name in ("vgg16", "vgg16_bn"):
        net = getattr(torchvision.models, name)(weights=None, init_weights=False)
        randomize(net)
        torch.save(net.state_dict(), os.path.join(folder, f"{name}.pth"))
        out[f"{name}.features"], out[f"{name}.logits"] = run(net.eval(), x)
    net = keras.applications.VGG16(weights=None, include_top=True)
    for layer in net.layers:
        if layer.weights and len(layer.weights) == 2:
            layer.bias.assign(np.random.default_rng(2).normal(0, 0.1, layer.bias.shape))
    net.save(os.path.join(folder, "vgg16_top.h5"))
    out["keras.features"] = keras_features(keras.Model(net.inputs, net.get_layer("block5_pool").output), x)
    save_file(out, os.path.join(folder, "full.safetensors"))
    sys.exit()

out, x = {}, levels(2, *SIZE)
for name, batch_norm in (("vgg", False), ("vgg_bn", True)):
    net = narrow(batch_norm)
    torch.save(net.state_dict(), os.path.join(HERE, f"{name}.pth"))
    out[f"{name}.features"], out[f"{name}.logits"] = run(net, x)
    if not batch_norm:
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, os.path.join(HERE, "vgg_nested.pth"), _use_new_zipfile_serialization=False)
        save_file({k: v.half().numpy() for k, v in net.features.state_dict().items()}, os.path.join(HERE, "vgg_bare_f16.safetensors"))
net = keras_vgg(NARROW, SIZE)
out["keras.features"] = keras_features(net, x)
net.save(os.path.join(HERE, "vgg_keras.h5"))
net.save_weights(os.path.join(HERE, "vgg_keras.weights.h5"))
with h5py.File(os.path.join(HERE, "vgg_keras_published.h5"), "w") as file:
    # The layout of the file that Keras publishes: a group a layer, names with the layer in them.
    for layer in net.layers:
        group = file.create_group(layer.name)
        for part, values in zip("Wb", layer.get_weights()):
            group.create_dataset(f"{layer.name}_{part}_1:0", data=values)
squeeze = torchvision.models.squeezenet1_1(weights=None)
for index, (name, p) in enumerate(sorted(squeeze.features.state_dict().items())):
    n = np.arange(1, p.numel() + 1, dtype=np.uint64) + np.uint64(index * 1000)
    unit = (n * n * np.uint64(2654435761) % np.uint64(1 << 32)).astype(np.float64) / 2.0**32 - 0.5
    scale = (24 / p[0].numel()) ** 0.5 if p.dim() == 4 else 0.1
    p.copy_(torch.from_numpy((unit * scale).astype(np.float32)).reshape(p.shape))
with torch.no_grad():
    out["squeezenet.features"] = squeeze.features(torch.from_numpy(imagenet(levels(2, 67, 90)))).numpy()
save_file(out, os.path.join(HERE, "backbones.safetensors"))
for name in sorted(os.listdir(HERE)):
    print(os.path.getsize(os.path.join(HERE, name)), name)
print({k: (v.shape, float(np.abs(v).max())) for k, v in out.items()})
