# %%
import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision import transforms, datasets

# %%
transform = transforms.Compose([
    transforms.Grayscale(),
    transforms.Resize([48, 64]),
    transforms.ToTensor(),
    transforms.Normalize((0.5,), (0.5,)),
])
trainset = datasets.ImageFolder("shapes/train", transform=transform)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=8, shuffle=True)
testset = datasets.ImageFolder("shapes/test", transform=transform)
testloader = torch.utils.data.DataLoader(testset, batch_size=8)

# %%
class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(8, 16, kernel_size=3, padding=1)
        self.bn = nn.BatchNorm2d(16)
        self.drop = nn.Dropout(0.25)
        self.fc1 = nn.Linear(16 * 11 * 15, 32)
        self.fc2 = nn.Linear(32, classes)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.bn(self.conv2(x))))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = self.drop(x)
        return F.softmax(self.fc2(x), dim=1)


net = Net(2)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=True)

# %%
for epoch in range(2):
    for i, data in enumerate(trainloader, 0):
        inputs, labels = data
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
print("Finished")
torch.save(net.state_dict(), "net.pth")

# %%
correct = total = 0
with torch.no_grad():
    for images, labels in testloader:
        outputs = net(images)
        total += labels.size(0)
