"""Reference numbers of src/train/rules/rate_finder.rs: pip install fastai; python rate_finder.py writes tests/golden/rate_finder.json."""
import json, os, types
import fastai, numpy as np, torch
from fastai.callback.schedule import LRFinder, SchedExp, steep, valley
from fastai.learner import AvgSmoothLoss

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden", "rate_finder.json")
rng = np.random.default_rng(6)
STEPS, START, END = 100, 1e-7, 10


def search(losses):
    """What LRFinder and Recorder do after each batch, with their own average, schedule and limit."""
    average, rates, smoothed, best = AvgSmoothLoss(), [], [], float("inf")
    average.reset()
    schedule = SchedExp(START, END)
    for step, loss in enumerate(losses):
        average.accumulate(types.SimpleNamespace(loss=torch.tensor(loss)))
        rates.append(float(schedule(step / STEPS)))
        smoothed.append(average.value.item())
        best = min(best, smoothed[-1])
        if smoothed[-1] > 4 * best:
            break
    return rates, smoothed


def case(name, losses):
    losses = np.asarray(losses, dtype=np.float32).tolist()
    rates, smoothed = search(losses)
    # As lr_find does before it asks the functions.
    kept = slice(STEPS // 10, -5)
    args = torch.tensor(rates, dtype=torch.float64)[kept], torch.tensor(smoothed, dtype=torch.float64)[kept], STEPS
    return {"name": name, "losses": losses, "rates": rates, "smoothed": smoothed, "valley": valley(*args)[0], "steep": steep(*args)[0]}


at = np.linspace(0, 1, STEPS)
fall = 2.3 / (1 + np.exp((at - 0.55) * 18)) + 0.4
rise = np.where(at > 0.85, np.exp((at - 0.85) * 60) - 1, 0)
cases = [
    case("smooth", fall + rise),
    case("noisy", fall + rise + rng.normal(0, 0.15, STEPS)),
    case("very noisy", fall + rise + rng.normal(0, 0.6, STEPS)),
    case("early end", np.where(at < 0.5, 1 - at, 400.0 * at)),
    case("flat", 1 + rng.normal(0, 0.01, STEPS)),
    case("falls all the way", 3 - 2 * at),
    case("rises all the way", 1 + 2 * at),
]
with open(HERE, "w") as f:
    json.dump({"versions": {"fastai": fastai.__version__, "torch": torch.__version__}, "cases": cases}, f)
    f.write("\n")
print({c["name"]: (len(c["rates"]), c["valley"], c["steep"]) for c in cases})
