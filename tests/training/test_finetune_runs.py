"""What fine-tuning makes of its checkpoint on the disk: never lost, not needed to go on, and refused in one line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from translate.training.checkpoint import STATE, read_state

Words = list[str]


# --- where it lies ---


@pytest.mark.parametrize("output", ["old", ".", "link/old"])
def test_the_checkpoint_is_never_written_over(trained, finetune, tmp_path: Path, output: str) -> None:
    trained()
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    before = sorted(tmp_path.rglob("*"))
    done = finetune("steps=1", "resume=never", f"output={tmp_path / output}")
    assert done.code == 2
    assert f"is where from={tmp_path / 'old'} lies: give another output=FOLDER" in done.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("is_named", [True, False])
def test_a_run_goes_on_when_its_checkpoint_is_gone(
    trained, finetune, command, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_named: bool
) -> None:
    trained().rename(tmp_path / "runs_old")
    monkeypatch.chdir(tmp_path)
    words = ["from=runs_old", "data.root=pairs", "batch_size=2", "data.workers=0", "accelerator=cpu"]
    words += ["output=new"] * is_named
    run = tmp_path / ("new" if is_named else "runs/pix2pix_pairs")
    assert command("finetune", *words, "steps=1").code == 0
    (tmp_path / "runs_old").rename(tmp_path / "gone")
    again = command("finetune", *words, "steps=1")
    assert (again.code, again.err) == (0, "")
    assert "Finished: 1 steps" in again.out
    assert command("finetune", *words, "steps=2").code == 0
    assert read_state(run)["step"] == 2
    for other in (["resume=never"], ["from=never"]):
        done = command("finetune", *words, "steps=2", *other)
        assert done.code == 2
        assert "does not exist: give a run folder" in done.err
    assert read_state(run)["step"] == 2


# --- a state that is none ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nothing", "is damaged"),
        ({"version": 1}, "has version 1, this program reads 2"),
        ({"version": 2, "step": 3}, "it lacks average, fingerprint"),
        ([1, 2], "has version None"),
    ],
)
def test_without_a_state_that_can_be_read_the_generator_alone_goes_on(
    trained, finetune, content: Any, message: str
) -> None:
    path = trained() / STATE
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    done = finetune("steps=1")
    assert done.code == 2
    assert message in done.err
    assert "finetune.keep_discriminator=false goes on without it" in done.err
    assert finetune("steps=1", "finetune.keep_discriminator=false").code == 0


# --- settings that do not go together ---


def test_the_other_direction_of_a_cyclegan_is_refused(trained, finetune) -> None:
    trained("cyclegan")
    done = finetune("steps=1", "data.direction=BtoA", method="cyclegan")
    assert done.code == 2
    assert "was trained AtoB" in done.err
    assert "use data.direction=AtoB" in done.err


def test_a_pix2pix_may_be_turned_round(trained, finetune) -> None:
    trained()
    assert finetune("steps=1", "data.direction=BtoA").code == 0


def test_settings_of_fine_tuning_without_a_checkpoint_are_refused(command, tiny) -> None:
    done = command("train", *tiny, "steps=1", "finetune.freeze=[encoder]", "finetune.distance_weight=1")
    assert done.code == 2
    assert "finetune.freeze, finetune.distance_weight: there is no trained model to go on from" in done.err
    assert "translate finetune from=CHECKPOINT" in done.err


@pytest.mark.parametrize(
    ("old", "words", "message"),
    [
        ("stargan", ["method=pix2pix"], "translates into the domains dark, light, but the method chosen into none"),
        ("pix2pix", ["method=stargan"], "knows no domains, but these images are labelled"),
    ],
)
def test_a_method_that_does_not_go_with_domains_is_refused(
    trained, finetune, old: str, words: Words, message: str
) -> None:
    trained(old)
    new = words[0].removeprefix("method=")
    done = finetune("steps=1", *words, *["discriminator.num_layers=1"] * (new == "stargan"), method=new)
    assert done.code == 2
    assert message in done.err
    assert "leave out method=" in done.err


# --- domains ---


def test_a_fine_tuned_model_says_what_became_of_domains_and_is_measured_on_those_it_has_images_of(
    trained, finetune, command, tmp_path: Path, domains: Path
) -> None:
    trained("stargan", "method.n_critic=1")
    (tmp_path / "other").mkdir()
    for name in ("x", "y"):
        shutil.copytree(domains / "dark", tmp_path / "other" / name)
    done = finetune("steps=1", f"data.root={tmp_path / 'other'}", method="stargan")
    assert done.code == 0, done.err
    lines = (tmp_path / "new" / "log.txt").read_text().splitlines()
    said = [line[line.index("domains ") :] for line in lines if "domains " in line]
    assert said == ["domains kept: dark, light", "domains new: x, y", "domains without images here: dark, light"]
    measured = command("evaluate", tmp_path / "new", "--accelerator", "cpu", "--classifier-steps", "1")
    assert measured.code == 0, measured.err
    assert "Not measured, since no training image here shows them: dark, light." in measured.out
    (table,) = (tmp_path / "new").glob("evaluation_*.csv")
    assert {line.split(",")[1] for line in table.read_text().splitlines()} == {"domain", "x", "y"}


def test_letters_in_further_styles_are_learned(trained, finetune, tmp_path: Path) -> None:
    trained("stargan", "method.n_critic=1")
    words = ["data=glyphs", f"data.root={tmp_path / 'glyphs'}", "data.styles=[regular,outline]"]
    done = finetune("steps=1", *words, method="stargan")
    assert done.code == 0, done.err
    assert "domains new: regular, outline" in (tmp_path / "new" / "log.txt").read_text()


# --- what is shown of a model ---


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"kind": "x"}, "not said"),
        ({"source": "runs/[/old]", "kind": "x", "sha256": "b", "steps": 1}, "runs/[/old], 1 steps"),
        ({"source": "run [old]", "kind": "x", "sha256": "b", "steps": None}, "run [old]"),
    ],
)
def test_a_lineage_is_shown_as_it_is(
    trained,
    command,
    edited: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    entry: dict[str, Any],
    expected: str,
) -> None:
    folder = edited(trained(), lambda config: config.update(lineage=[entry]))
    (tmp_path / "[").mkdir()
    monkeypatch.chdir(tmp_path)
    done = command("list", folder.rename("[/b] [bold]c"))
    assert done.code == 0, done.err
    assert expected in done.out
    assert "[/b] [bold]c/" in done.out


@pytest.mark.parametrize("entry", [{"steps": "many"}, {"source": ["a"]}, "net_G.pth", {"sha256": {"a": 1}}])
def test_a_lineage_that_is_none_is_damage(trained, command, edited: Callable[..., Path], entry: Any) -> None:
    done = command("list", edited(trained(), lambda config: config.update(lineage=[entry])))
    assert done.code == 2
    assert "config.json is damaged" in done.err
    assert "lineage" in done.err
