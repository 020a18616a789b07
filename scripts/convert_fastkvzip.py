#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the published gates of Fast KVzip (a .pt file) as the safetensors file that the press fastkvzip reads.

    python3 convert_fastkvzip.py qwen3-8b/q4_dim16_sink16.pt gates.safetensors

Needs torch and safetensors. Loads tensors only: a file that holds code is refused (weights_only).
"""
import sys
import torch
from safetensors.torch import save_file


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: convert_fastkvzip.py GATES.pt OUT.safetensors")
    layers = torch.load(sys.argv[1], map_location="cpu", weights_only=True)["module"]
    tensors = {f"layers.{i}.{name}": t.float().contiguous() for i, layer in enumerate(layers) for name, t in layer.items()}
    save_file(tensors, sys.argv[2])
    print(f"{sys.argv[2]}: {len(layers)} layers, {sum(t.numel() for t in tensors.values())} numbers")


if __name__ == "__main__":
    main()
