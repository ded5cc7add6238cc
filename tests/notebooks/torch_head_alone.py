# %%
import torch
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision.datasets import ImageFolder
from torchvision import models, transforms as T
from tqdm import tqdm

torch.manual_seed(17)
BATCH = 32
EPOCHS = 12

# %%
tf = T.Compose([T.Resize((160, 192)), T.RandomRotation(15), T.ColorJitter(0.2, 0.3, hue=0.05), T.ToTensor()])
dataset = ImageFolder(root="flowers", transform=tf)
train_size = int(0.85 * len(dataset))
val_size = len(dataset) - train_size
train_set, val_set = random_split(dataset, [train_size, val_size])
train_loader = DataLoader(train_set, BATCH, shuffle=True)
val_loader = DataLoader(val_set, BATCH)

# %%
model = models.mobilenet_v2(weights=models.MobileNet_V2_Weights.DEFAULT)
for param in model.parameters():
    param.requires_grad = False
model.classifier[1] = nn.Linear(model.last_channel, len(dataset.classes))
model.cuda()
loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
opt = torch.optim.AdamW(model.classifier.parameters(), lr=3e-4, weight_decay=0.05)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=EPOCHS)

# %%
for epoch in tqdm(range(1, EPOCHS + 1)):
    model.train()
    for x, y in train_loader:
        x, y = x.cuda(), y.cuda()
        pred = model(x)
        loss = loss_fn(pred, y)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
    sched.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in val_loader:
            correct += (model(x.cuda()).argmax(1) == y.cuda()).sum().item()
    print(epoch, correct)
