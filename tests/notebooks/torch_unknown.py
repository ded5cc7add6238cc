# %%
import torch
from torch.utils.data import Dataset, DataLoader
from torchvision.models import vit_b_16, ViT_B_16_Weights
from mine import MyImages, epochs

# %%
weights = ViT_B_16_Weights.DEFAULT
loader = DataLoader(MyImages("list.csv", weights.transforms()), batch_size=8, shuffle=True)
model = vit_b_16(weights=weights)
model.heads.head = torch.nn.Linear(768, 5)
optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10, 20])

# %%
for epoch in range(epochs):
    for batch in loader:
        optimizer.zero_grad()
        out = model(batch["image"])
        loss = torch.nn.functional.cross_entropy(out, batch["label"])
        loss.backward()
        optimizer.step()
    scheduler.step()
