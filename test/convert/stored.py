"""Makes stored.json: the float32 bits that PyTorch gives to all 256 codes of both 8-bit formats, and to chosen float64 numbers.

Needs torch (made with torch 2.13). Run: python test/convert/stored.py
"""
import json
import pathlib

import torch


def bits(values):
    return [f"{v & 0xFFFFFFFF:08x}" for v in values.to(torch.float32).view(torch.int32).tolist()]


codes = torch.arange(256, dtype=torch.int32).to(torch.uint8)
# Middles between floats, overflow, subnormals, and random bits of every exponent.
doubles = [0.0, -0.0, 1.0, 0.1, 1 + 2**-24, 1 + 3 * 2**-24, 1 + 2**-24 + 2**-52, 3.4028234663852886e38, 3.4028235677973366e38, 3.4028235677973362e38,
           -3.5e38, 1e300, 2.0**-149, 2.0**-150, 2.0**-150 * 1.0000001, 1e-320, float("inf"), float("-inf"), float("nan")]
torch.manual_seed(1)
random = torch.randint(-2**63, 2**63 - 1, (200,), dtype=torch.int64)
exponents = torch.randint(860, 1160, (200,), dtype=torch.int64)
near = (random & ~(0x7FF << 52)) | (exponents << 52)
wide = torch.cat([torch.tensor(doubles, dtype=torch.float64), near.view(torch.float64)])
out = {
    "F8_E4M3": bits(codes.view(torch.float8_e4m3fn)),
    "F8_E5M2": bits(codes.view(torch.float8_e5m2)),
    "F64": {"from": [f"{v & 0xFFFFFFFFFFFFFFFF:016x}" for v in wide.view(torch.int64).tolist()], "to": bits(wide)},
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
