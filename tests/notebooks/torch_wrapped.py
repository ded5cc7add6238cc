import argparse
import torch
import torchvision
from torch import nn
from torchvision import transforms

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--lr", type=float, default=0.01)
args = parser.parse_args()

normalize = transforms.Normalize([0.5] * 3, [0.5] * 3)
train_set = torchvision.datasets.ImageFolder(
    f"{args.data}/train",
    transforms.Compose([transforms.Resize((200, 200)), transforms.RandomAffine(10, translate=(0.1, 0.05), scale=(0.8, 1.25)),
                        transforms.ToTensor(), normalize]),
)
val_set = torchvision.datasets.ImageFolder(
    f"{args.data}/val",
    transforms.Compose([transforms.Resize((200, 200)), transforms.RandomHorizontalFlip(), transforms.ToTensor()]),
)
train_loader = torch.utils.data.DataLoader(train_set, batch_size=10)
val_loader = torch.utils.data.DataLoader(val_set, batch_size=10)


class Classifier(nn.Module):
    def __init__(self, classes):
        super(Classifier, self).__init__()
        self.backbone = torchvision.models.vgg16(pretrained=True)
        for name, parameter in self.backbone.named_parameters():
            if "classifier" not in name:
                parameter.requires_grad = False
        self.backbone.classifier = nn.Sequential(nn.Linear(25088, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, classes))

    def forward(self, images):
        return self.backbone(images)


model = Classifier(4)
model = nn.DataParallel(model)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), args.lr)


def train_one_epoch(loader):
    model.train()
    total = 0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total


def validate(loader):
    model.eval()
    for images, labels in loader:
        loss = criterion(model(images), labels)


for epoch in range(args.epochs):
    train_one_epoch(train_loader)
    validate(val_loader)
