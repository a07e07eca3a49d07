"""Writes files as torch.save makes them, good ones and bad ones, for the tests of packages/peft.

    python scripts/golden/torch_files.py packages/peft/test/torch
"""

import os
import pickle
import shutil
import sys
from collections import OrderedDict
from pathlib import Path

import torch


class Evil:
    """A pickle that runs a command when it is loaded by Python."""

    def __reduce__(self):
        return os.system, ("touch graft-was-here",)


def main(out):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    numbers = torch.arange(6.0).reshape(2, 3)
    tensors = OrderedDict(
        plain=numbers,
        turned=numbers.t(),
        part=numbers[:, 1:],
        half=numbers.half(),
        brain=numbers.bfloat16(),
        double=numbers.double(),
        whole=numbers.long(),
        scalar=torch.tensor(7.0),
        nothing=torch.empty(0, 4),
        parameter=torch.nn.Parameter(numbers + 0.5),
    )
    torch.save(tensors, out / "archive.bin")
    torch.save(tensors, out / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save({"plain": numbers, "evil": Evil()}, out / "evil-archive.bin")
    torch.save({"plain": numbers, "evil": Evil()}, out / "evil-legacy.bin", _use_new_zipfile_serialization=False)
    (out / "evil.bin").write_bytes(pickle.dumps(Evil()))
    torch.save([numbers], out / "list.bin")
    torch.save(torch.nn.Linear(2, 2), out / "module.bin")


main(Path(sys.argv[1]))
