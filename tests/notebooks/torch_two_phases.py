import timm
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, WeightedRandomSampler
from torchvision import datasets
from torchvision.transforms import v2

train_tf = v2.Compose([
    v2.Resize(128),
    v2.RandomCrop(112),
    v2.RandomVerticalFlip(p=0.3),
    v2.TrivialAugmentWide(),
    v2.RandomApply([v2.GaussianBlur(3, sigma=(0.1, 1.0))], p=0.2),
    v2.ToImage(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    v2.RandomErasing(p=0.25),
])
test_tf = v2.Compose([v2.Resize(128), v2.CenterCrop(112), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
                      v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])])
train = datasets.ImageFolder("leaves/train", train_tf)
test = datasets.ImageFolder("leaves/test", test_tf)
weights = 1.0 / torch.bincount(torch.tensor(train.targets))
sampler = WeightedRandomSampler(weights[train.targets], len(train))
train_dl = DataLoader(train, batch_size=16, sampler=sampler, drop_last=True)
test_dl = DataLoader(test, batch_size=64)

model = timm.create_model("resnet50.a1_in1k", pretrained=True, num_classes=7)


def run(epochs, lr):
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=lr)
    scaler = torch.amp.GradScaler()
    for epoch in range(epochs):
        model.train()
        for images, labels in train_dl:
            optimizer.zero_grad()
            with torch.autocast("cuda"):
                loss = F.cross_entropy(model(images), labels)
            scaler.scale(loss / 4).backward()
            scaler.step(optimizer)
            scaler.update()
        evaluate(test_dl)


@torch.no_grad()
def evaluate(loader):
    hits = 0
    for images, labels in loader:
        hits += (model(images).argmax(dim=1) == labels).sum()
    return hits / len(loader.dataset)


for p in model.parameters():
    p.requires_grad = False
for p in model.fc.parameters():
    p.requires_grad = True
run(3, 1e-3)
for p in model.layer4.parameters():
    p.requires_grad = True
for p in model.layer3.parameters():
    p.requires_grad = True
run(epochs=10, lr=1e-4)
