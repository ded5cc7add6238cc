"""Reference numbers of src/nn/loss.rs: pip install torch; python losses.py"""
import torch, torch.nn.functional as F
x = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]]); t = torch.tensor([0, 2])
ce = F.cross_entropy(x, t, reduction="none"); p = torch.softmax(x, 1)[torch.arange(2), t]
z = torch.tensor([1.5, -40.0]); y = torch.tensor([0.0, 1.0])
torch.set_printoptions(precision=8)
print(torch.__version__, "cross-entropy", ce)
print("smoothed 0.1", F.cross_entropy(x, t, reduction="none", label_smoothing=0.1))
print("focal 2", (1 - p) ** 2 * ce)
print("binary", F.binary_cross_entropy_with_logits(z, y, reduction="none"))
