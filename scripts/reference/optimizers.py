"""Reference numbers of src/nn/optim.rs: three steps on two weights with fixed gradients. pip install torch; python optimizers.py"""
import torch
grads = [[0.5, -1.0], [0.25, 2.0], [-0.75, 0.1]]
cases = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "adam decay": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd momentum decay": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "sgd nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1),
    "rmsprop momentum": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9, weight_decay=0.1),
}
print(torch.__version__)
for name, make in cases.items():
    w = torch.nn.Parameter(torch.tensor([1.0, -2.0])); o = make([w])
    for g in grads:
        w.grad = torch.tensor(g); o.step()
    print(name, [round(v, 7) for v in w.tolist()])
