"""Reference files of whole networks: pip install torch torchvision timm keras; python networks.py [torchvision timm keras]

torchvision's, timm's and Keras's own networks (torch 2.15, torchvision 0.29.2, timm 1.0.31, Keras 3.15.1 on torch) with every tensor computed
from its name by `formula`, in inference mode on a computed input. Writes tests/golden/networks/<library>.<network>.safetensors:
`features`, the last map before global pooling or the class token, of some `input_gradient`, that of sum(features * cotangent), both [n, c, h, w], and in the
metadata the names and shapes of the tensors that the published file has, so that the weights themselves needn't be stored. Computed in f64
from f32 weights and input; the line printed for each tells how far the same in f32 is from it, beside the largest value."""
import gc, json, os, sys
os.environ["KERAS_BACKEND"] = "torch"
import numpy as np, torch

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden", "networks")
SHAPE, INCEPTION_SHAPE, DINOV2_SHAPE = (2, 3, 72, 104), (1, 3, 107, 139), (2, 3, 70, 98)
# Those with a gradient.
GRADIENT = {
    "torchvision": "resnet18 resnet50 mobilenet_v2 mobilenet_v3_small efficientnet_b0 densenet121 convnext_tiny",
    "timm": "mobilenetv2_100_tf mobilenetv1_100_tf tf_efficientnet_lite0 tf_efficientnet_b0 tf_mobilenetv3_large_100 vit_small_patch14_dinov2",
    "keras": "resnet50 mobilenetv2 efficientnetb0 densenet121",
}
# Gain of the kernels, 2 where nothing is said. Branches that are added up and linear projections let 2 grow to millions, beside which
# a bias or a mean would count for nothing; through a chain of ReLUs less than 2 lets the early layers vanish.
GAIN = {"resnet": 1.0, "mobilenetv2": 1.3, "mobilenetv3": 1.6, "lite": 1.3}


def uniform(name, shape):
    """Numbers in 0..1: a 32-bit hash of the name and the index, row by row."""
    h = 2166136261
    for byte in name.encode():
        h = (h ^ byte) * 16777619 % 2**32
    x = np.arange(int(np.prod(shape)), dtype=np.uint32)
    x *= np.uint32(2654435761)
    x += np.uint32(h)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return x.astype(np.float64).reshape(shape) / 2.0**32


def formula(name, shape, gain, keras):
    """Values of a tensor in the layout that its library has."""
    end = name.removesuffix(":0")
    if end.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    u = uniform(name, shape)
    if end.endswith(("running_var", "moving_variance")):
        u = 0.5 + u
    elif end.endswith(("running_mean", "moving_mean")):
        u = (u - 0.5) * 0.4
    elif len(shape) in (2, 4):
        # [h, w, in, out], depthwise [h, w, channels, 1]; [in, out] of Keras, [out, in, ...] of torch.
        depthwise = any(part in name for part in ("depthwise", "dwconv", "conv_dw"))
        fan_in = np.prod(shape[:2] if len(shape) == 4 and depthwise else shape[:-1]) if keras else np.prod(shape[1:])
        u = (u - 0.5) * 2 * np.sqrt(3 * (gain if len(shape) == 4 else 1) / fan_in)
    elif len(shape) != 1 or end.endswith(".gamma") or "layer_scale" in name:
        u = u - 0.5
    elif end.endswith(("weight", "gamma")):
        u = 0.5 + u
    else:
        u = (u - 0.5) * 0.2
    return u.astype(np.float32)


def gain_of(name):
    return next((gain for part, gain in GAIN.items() if part in name.replace("_", "")), 2.0)


def save(path, tensors, about):
    """A safetensors file, the metadata always in the same order."""
    header, at = {"__metadata__": about}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": values.shape, "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    header = json.dumps(header, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for values in tensors.values():
            file.write(values.astype("<f4").tobytes())


def store(library, version, name, tensors, run, features):
    """`run(x)` computes the features in the type of `x`."""
    shape = INCEPTION_SHAPE if name.startswith("inception") else DINOV2_SHAPE if name.endswith("dinov2") else SHAPE
    x = torch.from_numpy(((uniform("input", shape) - 0.5) * 4).astype(np.float32))
    with torch.no_grad():
        single = run(x)
    gradient = name in GRADIENT[library].split()
    x = x.double().requires_grad_(gradient)
    with torch.set_grad_enabled(gradient):
        y = run(x)
    out = {"features": y.detach().float().contiguous().numpy()}
    if gradient:
        cotangent = (uniform("cotangent", tuple(y.shape)) - 0.5).astype(np.float32)
        (y * torch.from_numpy(cotangent)).sum().backward()
        out["input_gradient"] = x.grad.float().contiguous().numpy()
    about = {"library": f"{library} {version.split('+')[0]}", "input": json.dumps(shape), "gain": str(gain_of(name)), "features": features, "tensors": json.dumps(tensors, separators=(",", ":"))}
    save(os.path.join(HERE, f"{library}.{name}.safetensors"), out, about)
    assert all(np.isfinite(v).all() for v in out.values())
    largest = {k: float(np.abs(v).max()) for k, v in out.items()}
    wrong = float((single.double() - y.detach()).abs().max())
    print(library, name, tuple(y.shape), {k: f"{v:.3g}" for k, v in largest.items()}, f"not 0: {np.count_nonzero(out['features']) / y.numel():.2f}", f"f32 off by {wrong:.2g}, {wrong / largest['features']:.1e} of the largest", flush=True)


def torch_network(library, version, name, net, run, features):
    tensors = [(key, list(value.shape)) for key, value in net.state_dict().items()]
    if name == "vgg19":
        # A hundred million numbers that the features don't need.
        del net.classifier
    net.load_state_dict({key: torch.from_numpy(np.asarray(formula(key, tuple(value.shape), gain_of(name), False))) for key, value in net.state_dict().items()})
    net.eval()
    store(library, version, name, tensors, lambda x: run(net.to(x.dtype), x), features)


def before_pool(net, x):
    """What goes into torchvision's `avgpool`."""
    kept = []
    hook = net.avgpool.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    net(x)
    hook.remove()
    return kept[0]


def torchvision_networks():
    import torchvision
    def of_features(net, x):
        return net.features(x)
    for name in "resnet18 resnet34 resnet50 resnet101".split():
        torch_network("torchvision", torchvision.__version__, name, getattr(torchvision.models, name)(), before_pool, "before avgpool")
    for name in "mobilenet_v2 mobilenet_v3_small mobilenet_v3_large efficientnet_b0 efficientnet_b2 convnext_tiny".split():
        torch_network("torchvision", torchvision.__version__, name, getattr(torchvision.models, name)(), of_features, "output of features")
    torch_network("torchvision", torchvision.__version__, "densenet121", torchvision.models.densenet121(), lambda net, x: torch.relu(net.features(x)), "output of features, then ReLU")
    torch_network("torchvision", torchvision.__version__, "vgg19", torchvision.models.vgg19(init_weights=False), of_features, "output of features, after the last pool")
    net = torchvision.models.inception_v3(aux_logits=True, transform_input=False, init_weights=False)
    torch_network("torchvision", torchvision.__version__, "inception_v3", net, before_pool, "before avgpool; transform_input off")


def timm_networks():
    import timm
    def of_features(net, x):
        return net.forward_features(x)
    names = "mobilenetv1_100 mobilenetv2_100 tf_efficientnet_lite0 tf_efficientnet_lite2 efficientnet_b0 tf_efficientnet_b0 mobilenetv3_small_100 tf_mobilenetv3_large_100 resnet18 resnet50 densenet121 convnext_tiny inception_v3"
    for name in names.split():
        features = "forward_features, before the pooled conv_head" if "mobilenetv3" in name else "forward_features"
        torch_network("timm", timm.__version__, name, timm.create_model(name), of_features, features)
    def class_token(net, x):
        return net.forward_head(net.forward_features(x), pre_logits=True)[:, :, None, None]
    net = timm.create_model("vit_small_patch14_dinov2", dynamic_img_size=True)
    torch_network("timm", timm.__version__, "vit_small_patch14_dinov2", net, class_token, "forward_head with pre_logits; built with dynamic_img_size=True")
    for name in "mobilenetv1_100 mobilenetv2_035 mobilenetv2_100".split():
        net = timm.create_model(name, pad_type="same", bn_eps=1e-3)
        torch_network("timm", timm.__version__, f"{name}_tf", net, of_features, 'forward_features; built with pad_type="same", bn_eps=1e-3')


def keras_tensors(layers, group=""):
    """(name, variable) as in the files that Keras publishes: a group a layer, in it the name with the layer's again."""
    import keras
    for layer in layers:
        if isinstance(layer, keras.Sequential):
            yield from keras_tensors(layer.layers, f"{layer.name}/")
            continue
        for variable in layer.weights:
            # A layer scale's has no name of its own, so Keras counts them.
            part = variable.name if not variable.name.startswith("variable_") else "variable"
            if isinstance(layer, keras.layers.DepthwiseConv2D) and part == "kernel":
                part = "depthwise_kernel"
            yield f"{group or layer.name + '/'}{layer.name}/{part}:0", variable


def keras_run(net, x):
    y = net(x.permute(0, 2, 3, 1).contiguous(), training=False)
    return y.permute(0, 3, 1, 2)


def keras_networks():
    import keras
    names = "ResNet50 ResNet101 MobileNet MobileNetV2 MobileNetV2_035 MobileNetV3Small MobileNetV3Large EfficientNetB0 DenseNet121 VGG19 InceptionV3 ConvNeXtTiny"
    for title in names.split():
        kind, name, nets = title.split("_")[0], title.lower(), {}
        shape = INCEPTION_SHAPE if name.startswith("inception") else SHAPE
        more = {"alpha": 0.35} if title.endswith("_035") else {"include_preprocessing": False} if kind.startswith(("MobileNetV3", "ConvNeXt")) else {}
        for dtype in ("float32", "float64"):
            # Numbers in the names of unnamed layers begin anew.
            keras.backend.clear_session()
            keras.config.set_floatx(dtype)
            net = getattr(keras.applications, kind)(weights=None, include_top=False, input_shape=(*shape[2:], 3), **more)
            tensors = [(key, list(variable.shape)) for key, variable in keras_tensors(net.layers)]
            for key, variable in keras_tensors(net.layers):
                variable.assign(formula(key, tuple(variable.shape), gain_of(name), True))
            features = f"output of include_top=False{''.join(f', {k}={v}' for k, v in more.items())}"
            if kind == "EfficientNetB0":
                features += "; rescaling and normalization do nothing, so the input is what the stem gets"
                net.get_layer("rescaling").scale = 1.0
                scaler = net.get_layer("normalization")
                scaler.mean, scaler.variance = (torch.full((1, 1, 1, 3), value, dtype=getattr(torch, dtype)) for value in (0.0, 1.0))
            if kind == "ConvNeXtTiny":
                features += ", before its last layer_normalization"
                net = keras.Model(net.inputs, net.layers[-1].input)
            nets[getattr(torch, dtype)] = net
        store("keras", keras.__version__, name, tensors, lambda x: keras_run(nets[x.dtype], x), features)


def main():
    torch.set_num_threads(1)
    torch.manual_seed(1)
    os.makedirs(HERE, exist_ok=True)
    made = {"torchvision": torchvision_networks, "timm": timm_networks, "keras": keras_networks}
    for library in sys.argv[1:] or made:
        made[library]()
        gc.collect()


if __name__ == "__main__":
    main()
