"""What the PyTorch peers share: reading weights, and answering commands from standard input, one a line, each with one JSON line:

    load                                    reads the weights
    run <in.safetensors> <out.safetensors>  one forward pass
    quit

Needs torch and safetensors.
"""
import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def read_weights(folder, dtype, channels_last, rename=lambda name: name):
    """The weights by their names; rename gives None for those that are not wanted."""
    weights = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            name = rename(name)
            if name is None:
                continue
            tensor = tensor.to(dtype)
            if channels_last and tensor.dim() == 4:
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            weights[name] = tensor
    return weights


def serve(make, inputs):
    """make(folder, dtype, channels_last) gives a model; its forward takes the tensors of the input file that are named in inputs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--dtype", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    model = None
    for line in sys.stdin:
        command = line.split()
        started = time.perf_counter()
        if command[0] == "quit":
            break
        if command[0] == "load":
            model = make(options.folder, {"fp32": torch.float32, "bf16": torch.bfloat16}[options.dtype], options.channels_last)
        else:
            tensors = load_file(command[1])
            started = time.perf_counter()
            out = model.forward(*(tensors[name] for name in inputs))
        ms = (time.perf_counter() - started) * 1000
        if command[0] == "run":
            save_file({"sample": out.contiguous()}, command[2])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"ms": ms, "peakBytes": peak, "version": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
