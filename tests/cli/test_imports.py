"""Help waits for no library: what a command needs is imported when it is called."""

import json
import subprocess
import sys

import pytest

from captum_spectral.cli import commands
from captum_spectral.cli.commands import main

HEAVY = {"captum", "matplotlib", "numpy", "torch", "torchmetrics", "torchvision", "transformers"}
HEAVY |= {"timm", "PIL", "scipy", "sklearn", "lightning", "triton"}
MOST = 350  # modules; click and the standard library need about 200

# Model libraries that cannot be imported at all, as one is that was built for another release.
BROKEN = """
import json, sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"transformers", "timm", "lightning", "onnxruntime"}:
            raise RuntimeError(f"{name} is broken")
sys.meta_path.insert(0, Broken())
from captum_spectral.cli import main
code = 0
try:
    main(sys.argv[1:], prog_name="captum-spectral")
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(sys.modules)]))
"""


def modules_of(*args):
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, *args], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    *printed, last = done.stdout.splitlines()
    code, modules = json.loads(last)
    assert code in (0, None)
    return "\n".join(printed), modules


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], *([name, "--help"] for name in commands._COMMANDS)]
)
def test_help_imports_click_and_nothing_large(args):
    printed, modules = modules_of(*args)
    assert printed
    assert {name.split(".")[0] for name in modules} & HEAVY == set()
    assert len(modules) < MOST


def test_the_list_of_commands_tells_each_as_its_own_help_does():
    printed, _ = modules_of("--help")
    context = main.make_context("captum-spectral", ["demo"])
    for name, text in commands._COMMANDS.items():
        command = main.get_command(context, name)
        assert command.name == name
        assert command.help
        assert f"  {name}" in printed
        assert text in printed
    assert main.get_command(context, "nothing") is None
