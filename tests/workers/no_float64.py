"""Runs a script on a device that holds no float64, as the GPU of a Mac: `no_float64.py SCRIPT [ARGUMENT …]`.

The device is called mps and computes on the CPU. Tensors that are moved to it, made on it or computed from its
tensors are marked as its own, in every function of PyTorch; float64 there raises the error of PyTorch on a Mac.
"""

import runpy
import sys

import accelerate.state
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("mps")
MESSAGE = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. Please use float32 instead."


def lies_there(value) -> bool:
    return isinstance(value, torch.Tensor) and getattr(value, "lies_there", False)


def is_device(value) -> bool:
    return isinstance(value, (torch.device, str)) and str(value).startswith("mps")


class NoFloat64(TorchFunctionMode):
    """Keeps track of the tensors on the device."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        given = tree_leaves((arguments, options))
        name = getattr(function, "__name__", "")
        if function is torch.device:
            return function(*arguments, **options)
        if function == torch.Tensor.device.__get__:
            return DEVICE if lies_there(arguments[0]) else function(*arguments)
        if function == torch.Tensor.data.__set__:
            arguments[0].lies_there = lies_there(arguments[1])
            return function(*arguments)
        moves = any(map(is_device, given))
        away = name == "cpu" or name == "to" and any(str(value) == "cpu" for value in given)
        if name == "numpy" and lies_there(arguments[0]):
            raise TypeError(
                "can't convert mps:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
            )

        def cpu(value):
            return torch.device("cpu") if is_device(value) else value

        result = function(*tree_map(cpu, tuple(arguments)), **tree_map(cpu, options))
        if not (moves or any(map(lies_there, given))):
            return result
        if away:
            return result.clone() if lies_there(result) else result
        if moves and name == "to" and isinstance(result, torch.Tensor) and not lies_there(result):
            result = result.clone()
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                if tensor.dtype == torch.float64:
                    raise TypeError(MESSAGE)
                tensor.lies_there = True
        return result


accelerate.state.is_mps_available = lambda *arguments, **options: True
is_available = torch.accelerator.is_available
torch.accelerator.is_available = lambda: sys._getframe(1).f_globals["__name__"].startswith("recipes") or is_available()
if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    with NoFloat64():
        runpy.run_path(sys.argv[0], run_name="__main__")
