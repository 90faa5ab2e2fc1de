"""recipes/train.py as if torchvision published the weights of SqueezeNet at the address in the first argument."""

import sys

import torchvision

from recipes import train

torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.value.url = sys.argv.pop(1)
train.main()
