"""What is committed about the contracts is what they give now."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_gas_is_what_bench_says_and_within_every_target() -> None:
    measured = run("bench/gas.py", "--check")
    assert measured.returncode == 0, measured.stdout + measured.stderr


def test_gas_check_fails_when_a_figure_is_another(tmp_path: Path) -> None:
    script = "import sys; sys.path.insert(0, 'bench'); import gas, json, pathlib; "
    script += f"path = pathlib.Path({str(tmp_path / 'gas.json')!r}); "
    script += "figures = json.loads(gas.RESULT.read_text()); "
    script += "path.write_text(json.dumps(figures | {'open_5': 1})); gas.RESULT = path; "
    script += "print(gas.complaints(figures))"
    said = run("-c", script).stdout
    assert "open_5: bench/gas.json says 1" in said
    assert said.count("bench/gas.json says") == 1


def test_vectors_are_what_their_maker_computes() -> None:
    made = run("tests/vectors/make.py", "--check")
    assert made.returncode == 0, made.stderr
