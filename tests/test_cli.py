"""The command line as a person uses it."""

import subprocess
import sys

import cv2
import pytest


@pytest.fixture(scope="module")
def loaded():
    """What a fresh interpreter has loaded after importing one module after the other."""
    modules = ("translate.cli", "translate.conversion.folder", "translate.config", "translate.training.run")
    code = f"import importlib, sys\nfor name in {modules!r}:\n    importlib.import_module(name), print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {module: set(line.split()) for module, line in zip(modules, done.stdout.splitlines(), strict=True)}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("translate.cli", {"torch", "cv2", "hydra", "numpy", "albumentations"}),
        (
            "translate.conversion.folder",
            {"lightning_fabric", "albumentations", "hydra", "torchvision", "kornia", "matplotlib", "pydantic"},
        ),
        ("translate.config", {"torch", "lightning_fabric"}),
        (
            "translate.training.run",
            {"torchmetrics", "scipy", "albumentations", "torchvision", "kornia", "matplotlib", "wandb"},
        ),
    ],
)
def test_commands_import_only_what_they_need(loaded, module, heavy):
    assert module in loaded[module]
    assert loaded[module] & heavy == set()


def test_help_names_every_command(command):
    ran = command("--help")
    assert ran.code == 0
    for name in ("train", "check", "convert", "evaluate", "import", "export", "list"):
        assert name in ran.out


def test_train_help_shows_every_setting(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    ran = command("train", "generator=resnet_6blocks", "--help")
    assert ran.code == 0
    for words in ("generator.num_blocks", "residual blocks", "data.root", "save_every", "wandb.mode"):
        assert words in ran.out


def test_list_shows_what_can_be_chosen(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "unet_256" in command("list", "generators").out
    assert "Isola et al. 2017" in command("list").out


def test_check_shows_what_train_would_read(command, tiny, tmp_path):
    ran = command("check", *tiny)
    assert ran.code == 0
    assert "20x20" in ran.out
    assert "No problems" in ran.out
    picture = cv2.imread(str(tmp_path / "run" / "check.png"))
    assert picture.shape == (22 + 6 * 18 + 2, 2 * 18 + 2, 3)
    assert command("train", *tiny, "steps=1").code == 0  # the preview does not stand in the way


def test_check_lists_every_problem(command, tiny, pairs):
    for index in range(30):
        (pairs / f"empty {index:02d}.png").touch()
    ran = command("check", *tiny)
    assert ran.code == 2
    assert ran.err.count("is empty") == 30


def test_convert_reports_failures_and_exits_with_1(command, tiny, tmp_path, pairs):
    assert command("train", *tiny, "steps=1").code == 0
    (pairs / "broken.png").write_bytes(b"no image")
    ran = command("convert", tmp_path / "run", pairs, tmp_path / "out", "--compare")
    assert ran.code == 1
    assert "12 converted, 0 skipped, 1 failed" in ran.out
    assert "broken.png: cannot be decoded" in ran.out
    assert (tmp_path / "out" / "comparison.png").is_file()
    again = command("convert", tmp_path / "run", pairs, tmp_path / "out")
    assert "0 converted, 12 skipped, 1 failed" in again.out


def test_dry_run_converts_nothing(command, tiny, tmp_path, pairs):
    assert command("train", *tiny, "steps=1").code == 0
    ran = command("convert", tmp_path / "run", pairs, tmp_path / "out", "--dry-run", "--format", "jpeg")
    assert ran.code == 0
    assert f"{pairs / 'image 0.png'} -> {tmp_path / 'out' / 'image 0.jpg'}" in ran.out
    assert not (tmp_path / "out").exists()


def test_evaluate_measures_beside_the_unchanged_input(command, tiny, tmp_path):
    assert command("train", *tiny, "steps=1").code == 0
    ran = command("evaluate", tmp_path / "run")
    assert ran.code == 0
    assert "1 pairs of the test split" in ran.out
    assert "input unchanged" in ran.out
    lines = (tmp_path / "run" / "evaluation_test.csv").read_text().splitlines()
    assert lines[0] == "name,l1,psnr,ssim"
    assert len(lines) == 2


@pytest.mark.parametrize("arguments", [["--help"], ["list", "methods"]])
def test_python_dash_m_is_the_same_command(arguments):
    done = subprocess.run([sys.executable, "-m", "translate", *arguments], capture_output=True, text=True)
    assert done.returncode == 0
    assert "pix2pix" in done.stdout.lower() or "translate" in done.stdout


def test_the_python_interface(command, tiny, tmp_path, pairs):
    import translate

    assert command("train", *tiny, "steps=1").code == 0
    translator = translate.load(tmp_path / "run", accelerator="cpu")
    output = translator(pairs / "image 0.png")
    assert output.shape == (20, 40, 3)
    assert output.dtype == "uint8"
    report = translator.convert_folder(pairs, tmp_path / "out")
    assert report.converted == 12


def test_evaluate_takes_the_test_behaviour_as_a_setting(command, tiny, tmp_path):
    assert command("train", *tiny, "steps=2").code == 0
    rows = []
    for norm in ("running", "image"):
        assert command("evaluate", tmp_path / "run", f"norm_at_test={norm}").code == 0
        rows.append((tmp_path / "run" / "evaluation_test.csv").read_text())
    assert rows[0] != rows[1]
    refused = command("evaluate", tmp_path / "run", "generator.width=3")
    assert refused.code == 2
    assert "generator.width is fixed by the trained model" in refused.err


def test_check_looks_at_the_networks_too(command, tiny):
    ran = command("check", *tiny, "image_size=20")
    assert ran.code == 2
    assert "image_size=20 does not suit the generator" in ran.err


def test_brackets_in_paths_are_printed(command, tiny, tmp_path, pairs):
    run = tmp_path / "my run (1) [x]"
    done = command("train", *tiny, "steps=1", f"output={run}")
    assert f"translate convert '{run}' INPUT OUTPUT" in done.out
    assert str(tmp_path / "out [b]") in command("convert", run, pairs, tmp_path / "out [b]").out


def test_setting_names_are_never_cut_short(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "data.augmentation.horizontal_flip" in command("train", "--help").out


def test_a_model_of_own_components_converts_with_their_folder_and_not_without(
    command, tiny, tmp_path, pairs, monkeypatch
):
    package, own = tmp_path / "package", tmp_path / "mine" / "generator"
    package.mkdir()
    own.mkdir(parents=True)
    (package / "ownnet.py").write_text("from translate.networks.unet import UNet\n\n\nclass Net(UNet):\n    pass\n")
    monkeypatch.syspath_prepend(package)
    (own / "net.yaml").write_text('_target_: "ownnet.Net"\n_partial_: true\nnum_downs: 3\nwidth: 2\n')
    words = [word for word in tiny if not word.startswith("generator")]
    assert command("train", *words, "generator=net", "steps=1", "--config-dir", own.parent).code == 0
    run, out = tmp_path / "run", tmp_path / "out"
    refused = command("convert", run, pairs, out)
    assert refused.code == 2
    assert "'ownnet.Net' may not be built" in refused.err
    assert command("convert", run, pairs, out, "--config-dir", own.parent).code == 0


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_model_of_one_way_refuses_the_other_before_anything_is_written(command, tiny, tmp_path, pairs, dry):
    assert command("train", *tiny, "steps=1").code == 0
    run, out = tmp_path / "run", tmp_path / "out"
    refused = command("convert", run, pairs, out, "--direction", "BtoA", *dry)
    assert refused.code == 2
    assert "this Pix2Pix model was trained AtoB and translates one way alone; a CycleGAN translates both" in refused.err
    assert not out.exists()
    assert command("convert", run, pairs, out, "--direction", "AtoB", *dry).code == 0


def test_a_model_of_domains_is_told_where_to_go(command, tiny_for, tmp_path, domains):
    assert command("train", *tiny_for("stargan"), "steps=1").code == 0
    run, out = tmp_path / "run", tmp_path / "out"
    missing = command("convert", run, domains, out)
    assert missing.code == 2
    assert "name one, as dark, or all. Its domains are dark, light" in missing.err
    astray = command("convert", run, domains, out, "--to", "lihgt")
    assert astray.code == 2
    assert "'lihgt' is not one of the model's domains (did you mean light?): dark, light, or all" in astray.err
    assert not out.exists()
    dry = command("convert", run, domains / "dark" / "image 0.png", out, "--to", "all", "--dry-run")
    assert dry.out.splitlines() == [
        *(f"{domains / 'dark' / 'image 0.png'} -> {out / domain / 'image 0.png'}" for domain in ("dark", "light")),
        "2 to convert (2 new, 0 changed), 0 in OUTPUT already",
    ]
    done = command("convert", run, domains, out, "--to", "LIGHT", "--to", "dark", "--compare")
    assert done.code == 0
    assert "24 converted, 0 skipped, 0 failed" in done.out
    assert len(list(out.glob("light/dark/*.png"))) == len(list(out.glob("dark/light/*.png"))) == 6
    assert (out / "comparison.png").is_file()
