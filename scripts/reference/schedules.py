"""Reference numbers of src/train/rules/schedule.rs: pip install torch; python schedules.py"""
import torch
o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0); s = torch.optim.lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=10)
out = []
for _ in range(10):
    out.append(o.param_groups[0]["lr"]); o.step()
    if len(out) < 10: s.step()
print(torch.__version__, [round(v, 12) for v in out])
