"""Check the workloads' sizes: multiply-accumulates and parameters per image.

ResNet-9: model of BradMcDanel/sdgp; ResNet-18/50: pytorch/vision; VGG-19: weiaicunzai's
pytorch-cifar100; ViT: kentaroy47's vision-transformers-cifar10. The totals follow from those
layer shapes.
"""

from __future__ import annotations

from hwsim.core.result import Claim
from models.zoo import load_model

__all__ = ["claims"]

_GMACS = {
    "resnet9": 1.162,
    "resnet9-dawnbench": 0.379,
    "vgg19": 0.398,
    "vit-small": 0.641,
    "resnet18-64": 0.148,
    "resnet18-64-cifar": 2.222,
    "resnet18": 1.814,
    "resnet50": 4.089,
}
_ROUNDING = 0.0005
"""The references carry three decimals."""


def claims() -> list[Claim]:
    """Return one claim per model: forward GMAC of one image."""
    return [
        Claim(
            id=f"gmacs-{name}",
            what=f"forward multiply-accumulates of {name}, one image",
            simulated=load_model(name).totals()["macs"] / 1e9,
            reference=reference,
            unit="GMAC",
            tolerance=max(1e-3, _ROUNDING / reference),
            basis="derived",
            gated=True,
            source="layer shapes of the models' public code",
        )
        for name, reference in _GMACS.items()
    ]
