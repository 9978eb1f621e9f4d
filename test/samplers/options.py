"""Makes options.json: the options of diffusers' scheduler classes, from their constructors' signatures, and the classes that share them.

Reads diffusers' source (made from it at 58eb52c), imports nothing of it. Run: python test/samplers/options.py <diffusers>/src/diffusers
"""
import ast
import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1]) / "schedulers"
options = {}
for file in sorted(folder.glob("scheduling_*.py")):
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Scheduler"):
            made = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
            if made is not None:
                options[node.name] = [argument.arg for argument in made.args.args[1:]]
utils = ast.parse((folder / "scheduling_utils.py").read_text())
enum = next(node for node in utils.body if isinstance(node, ast.ClassDef) and node.name == "KarrasDiffusionSchedulers")
compatible = [item.targets[0].id for item in enum.body if isinstance(item, ast.Assign)]
kept = compatible + ["LCMScheduler", "TCDScheduler", "SASolverScheduler"]
rows = ",\n".join(f'  "{name}": {json.dumps(options[name])}' for name in kept)
pathlib.Path(__file__).with_suffix(".json").write_text(f'{{\n{rows}\n}}\n')
