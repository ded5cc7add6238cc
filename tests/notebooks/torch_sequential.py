# %%
from pathlib import Path
import torch
from torch import nn, optim
from torchvision import datasets, transforms

root = Path("/kaggle/input/coins")
size = 32
tf = transforms.Compose([transforms.RandomCrop(size, padding=4), transforms.ToTensor()])
train = datasets.ImageFolder(root / "train", transform=tf)
valid = datasets.ImageFolder(root / "valid", transform=transforms.ToTensor())
loader = torch.utils.data.DataLoader(train, batch_size=24, shuffle=True)
valid_loader = torch.utils.data.DataLoader(valid, batch_size=24)

# %%
def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True), nn.MaxPool2d(2))

model = nn.Sequential(
    block(3, 16),
    block(16, 32),
    nn.Conv2d(32, 48, 3, stride=2, padding=1),
    nn.LeakyReLU(0.01),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(48, 64),
    nn.ReLU(),
    nn.Dropout(p=0.4),
    nn.Linear(64, 3),
    nn.LogSoftmax(dim=1),
)
criterion = nn.NLLLoss(weight=torch.tensor([1.0, 2.5, 1.0]))
optimizer = optim.RMSprop(model.parameters())
scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=3, factor=0.5)

# %%
def fit(model, epochs):
    best = 0
    for epoch in range(epochs):
        model.train()
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
        model.eval()
        hits = 0
        for xb, yb in valid_loader:
            with torch.no_grad():
                hits += (model(xb).argmax(1) == yb).sum().item()
        scheduler.step(hits)
        if hits > best:
            best = hits
            torch.save(model.state_dict(), "best.pth")

fit(model, epochs=8)
