"""The wheel, installed elsewhere, brings its configuration along and trains."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_trains_two_steps_elsewhere(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"translate/conf/train.yaml", "translate/conf/method/pix2pix.yaml", "translate/report/page.html"} <= names
    assert not any(name.startswith(("tests/", "tools/", "conf/")) for name in names)
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    zipfile.ZipFile(wheel).extractall(installed)
    words = ["recipe=demo", "steps=2", "image_size=16", "generator.num_downs=3", "generator.width=2"]
    words += ["discriminator.width=2", "discriminator.num_layers=1", "data.workers=0"]
    code = "import translate; print(translate.__file__); from translate.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", *words],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))
    assert (elsewhere / "runs" / "demo" / "model" / "model.safetensors").is_file()
