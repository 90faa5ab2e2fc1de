"""Environment variables that would change the arithmetic without any option showing it.

The launcher sets those of accelerate, from its options and its config file. A variable is refused if it asks for
something that the recipes have an option for or cannot do. Only `ACCELERATE_MIXED_PRECISION` is used, if `precision` is
not given, and shown.
"""

from collections.abc import Mapping

OFF = ("", "0", "false", "no", "n", "off", "f")
PARALLEL = (
    "asks for more than data parallelism, which the recipes do not support: choose another launch config, such as "
    "accelerate_configs/gpu.yaml"
)
TF32 = "would change how float32 is multiplied: unset it"
COMPILE = "would leave compile=true without effect: unset it"
# variable -> values that change nothing, and what to do about any other
REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": (
        ("", "1"),
        "would divide the gradients: unset it, and pass accumulate=N",
    ),
    "ACCELERATE_DYNAMO_BACKEND": (
        OFF,
        "would compile the model: launch with --dynamo_backend no, and pass compile=true",
    ),
    "ACCELERATE_USE_FSDP": (OFF, PARALLEL),
    "ACCELERATE_USE_DEEPSPEED": (OFF, PARALLEL),
    "ACCELERATE_USE_MEGATRON_LM": (OFF, PARALLEL),
    "ACCELERATE_USE_PARALLELISM_CONFIG": (OFF, PARALLEL),
    "ACCELERATE_USE_IPEX": (OFF, "would rewrite the model for another library: unset it"),
    "ACCELERATE_DOWNCAST_BF16": (("",), "would round float32 to bf16: unset it, and pass precision=bf16"),
    "XLA_DOWNCAST_BF16": (OFF, "would round float32 to bf16: unset it, and pass precision=bf16"),
    "NVIDIA_TF32_OVERRIDE": (("",), TF32),
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": (OFF, TF32),
    "ONEDNN_DEFAULT_FPMATH_MODE": (("", "strict"), TF32),
    "DNNL_DEFAULT_FPMATH_MODE": (("", "strict"), TF32),
    "PYTORCH_MPS_FAST_MATH": (OFF, TF32),
    "PYTORCH_TUNABLEOP_ENABLED": (OFF, "would choose the arithmetic by its momentary speed: unset it"),
    "TORCH_COMPILE_DISABLE": (OFF, COMPILE),
    "TORCHDYNAMO_DISABLE": (OFF, COMPILE),
}


def fault_of(environment: Mapping[str, str]) -> str | None:
    """What is wrong with the environment, in one line; None if it does not change the arithmetic."""
    for name, (harmless, advice) in REFUSED.items():
        if (value := environment.get(name, "")).strip().lower() not in harmless:
            return f"{name}={value} {advice}"
    return None
