"""Trajectory of bitsandbytes' AdamW with eight-bit moments: codes, scales and parameters after every step.

    python scripts/golden/adamw_8bit.py

Writes packages/trainer/test/golden/adamw-8bit.json. It is bitsandbytes' implementation in plain torch, which takes the nearest
code as its CUDA kernels do; what it has for the CPU finds codes by a table of 65,536 steps, too coarse for the smallest of them.
Two parameters, "a" [700] and "b" [70], are in groups of their own; b's has four times the learning rate and no weight decay.
Gradients of a span five decades; those of its last block are zero.
"""
import base64, json, pathlib, sys
from unittest.mock import MagicMock
import torch

torch.set_num_threads(1)
torch.compile = lambda function: function
for name in ("triton", "triton.language"):  # the file also holds kernels; they are not called
    sys.modules[name] = MagicMock()
import bitsandbytes
from bitsandbytes.backends.triton.kernels_optim import optimizer_update_8bit_blockwise_pytorch as update
from bitsandbytes.functional import create_dynamic_map

STEPS, BETAS, EPS, RATE = 20, (0.9, 0.99), 1e-8, 0.01
out = pathlib.Path(__file__).parents[2] / "packages/trainer/test/golden/adamw-8bit.json"
signed, unsigned = create_dynamic_map(signed=True), create_dynamic_map(signed=False)


def wave(size, phase):
    """The same f32 numbers here and there: sines computed in float64."""
    return torch.sin(1.3 * torch.arange(size, dtype=torch.float64) + phase)


def gradients(step):
    at = torch.arange(700, dtype=torch.float64)
    a = wave(700, step) * 10 ** (-at / 100)
    a[512:] = 0
    return a.float(), wave(70, 2 * step).float()


def packed(values, dtype):
    return base64.b64encode(values.numpy().astype(dtype).tobytes()).decode()


class Parameter:
    def __init__(self, size, rate, decay):
        self.rate, self.decay = rate, decay
        self.p = wave(size, 0).float()
        self.codes = [torch.zeros(size, dtype=torch.uint8) for _ in range(2)]
        self.scales = [torch.zeros(-(-size // 256)) for _ in range(2)]

    def step(self, gradient, step):
        (m, v), (m_scale, v_scale) = self.codes, self.scales
        numbers = dict(beta1=BETAS[0], beta2=BETAS[1], beta3=0.0, alpha=0.0, eps=EPS, step=step, lr=self.rate)
        state = dict(state1=m, state2=v, qmap1=signed, qmap2=unsigned, absmax1=m_scale, absmax2=v_scale)
        update(self.p, gradient, **state, **numbers, weight_decay=self.decay, gnorm_scale=1.0, skip_zeros=False, optimizer_name="adam")

    def recorded(self, with_codes):
        codes = dict(m=packed(self.codes[0], "u1"), v=packed(self.codes[1], "u1")) if with_codes else {}
        scales = [[s if s != 1 else 0 for s in scale.tolist()] for scale in self.scales]  # it has 1 for blocks of zeros
        return dict(p=packed(self.p, "<f4"), scales=scales, **codes)


a, b = Parameter(700, RATE, 0.1), Parameter(70, 4 * RATE, 0.0)
steps = []
for step in range(1, STEPS + 1):
    for parameter, gradient in zip((a, b), gradients(step)):
        parameter.step(gradient, step)
    if step in (1, STEPS):
        steps.append(dict(step=step, a=a.recorded(step == 1), b=b.recorded(step == 1)))
made = f"bitsandbytes {bitsandbytes.__version__}, torch {torch.__version__}"
tables = dict(signed=packed(signed, "<f4"), unsigned=packed(unsigned, "<f4"))
settings = dict(betas=BETAS, eps=EPS, weight_decay=0.1, rate=RATE)
out.write_text(json.dumps(dict(made_with=made, settings=settings, tables=tables, steps=steps)) + "\n")
