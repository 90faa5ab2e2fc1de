"""recipes/train.py in a world where torchvision publishes the weights of SqueezeNet at another address, the first argument."""

import sys

import torchvision

from recipes import train

torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.value.url = sys.argv.pop(1)
train.main()
