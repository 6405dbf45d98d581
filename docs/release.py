"""What a release has to pass: `make release-check`, which is `python -m docs.release dist/attention_jax-….whl`.

One version everywhere and nothing left under Unreleased; a citation that is whole; and the wheel, installed into a fresh environment with
what it requires: both commands start in a folder that has an `experiments/` of its own. Exit status: 0; 1 with a line for each failure.
"""

import configparser
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CITED = "cff-version message title type version license authors".split()
COMMANDS = {
    "attention-jax": ["{bin}/attention-jax", "--experiment=bottleneck", "--list"],
    "launch": ["{bin}/python", "-m", "attention_jax.experiments.launch", "--experiment=bottleneck", "--dry_run"],
}


def main(wheel: Path) -> int:
    """Exit status, as in the module's docstring."""
    wrong = [*versions(ROOT, wheel.name), *citation((ROOT / "CITATION.cff").read_text()), *commands(wheel)]
    print("\n".join(wrong) or f"{wheel.name} is ready", file=sys.stderr if wrong else sys.stdout)
    return 1 if wrong else 0


def versions(root: Path, wheel: str) -> list[str]:
    """What says another version than setup.cfg, a line each; a changelog with something under Unreleased, too."""
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg")
    version, changes = setup["metadata"]["version"], (root / "CHANGELOG.md").read_text()
    sections = dict(re.findall(r"^## \[([^]]+)\][^\n]*\n(.*?)(?=^## |\Z)", changes, re.MULTILINE | re.DOTALL))
    released = [name for name in sections if name != "Unreleased"]
    found = {
        "CITATION.cff": "".join(re.findall(r"^version: (.*)$", (root / "CITATION.cff").read_text(), re.MULTILINE)),
        "the newest section of CHANGELOG.md": released[0] if released else "",
        "the wheel": wheel.split("-")[1],
    }
    wrong = [f"{where} says version {said or 'nothing'}, setup.cfg {version}" for where, said in found.items() if said != version]
    return wrong + ["CHANGELOG.md has entries under Unreleased"] * bool(sections.get("Unreleased", "").strip())


def citation(text: str) -> list[str]:
    """Fields that a citation lacks, a line each."""
    return [f"CITATION.cff has no {field}" for field in CITED if not re.search(rf"^{field}:", text, re.MULTILINE)]


def commands(wheel: Path) -> list[str]:
    """Installs the wheel and starts both commands; a line for each that fails."""
    with tempfile.TemporaryDirectory() as folder:
        made, project = Path(folder) / "venv", Path(folder) / "project"
        venv.create(made, with_pip=True)
        (project / "experiments").mkdir(parents=True)
        (project / "experiments" / "__init__.py").write_text("raise ImportError('the experiments of a user')\n")
        install = [made / "bin" / "python", "-m", "pip", "install", "--quiet", wheel.resolve()]
        if subprocess.run(install, check=False).returncode:
            return [f"{wheel.name} cannot be installed"]
        wrong = []
        for name, command in COMMANDS.items():
            words = [word.format(bin=made / "bin") for word in command]
            done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=False)
            if done.returncode:
                wrong.append(f"{name} ends with {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}")
        return wrong


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
