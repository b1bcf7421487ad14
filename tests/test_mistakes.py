"""Mistakes a newcomer makes: one short message with the setting and the remedy, exit code 2, nothing harmed."""

import errno
import shutil

import cv2
import numpy as np
import pytest

from translate.training import run as training_run


def fails(ran, *parts):
    """The command failed as it should, and its message has every one of `parts`."""
    assert ran.code == 2, ran.out + ran.err
    assert "Traceback" not in ran.err
    for part in parts:
        assert part in ran.err
    return ran.err


def test_wrong_path(command, tmp_path):
    fails(command("train", f"data.root={tmp_path / 'nowhere'}"), "data.root=", "does not exist")


def test_no_path(command):
    fails(command("train"), "data.root is not set: give data.root=...")


def test_empty_folder(command, tmp_path):
    fails(command("train", f"data.root={tmp_path}"), "holds no pairs", "subfolders A and B")


def test_unpaired_names(command, tmp_path):
    for folder, names in (("A", ("one", "two")), ("B", ("one", "three"))):
        (tmp_path / folder).mkdir()
        for name in names:
            cv2.imwrite(str(tmp_path / folder / f"{name}.png"), np.zeros((20, 20, 3), np.uint8))
    message = fails(command("train", f"data.root={tmp_path}"), "2 problems", "has no partner of that name")
    assert "two.png" in message
    assert "three.png" in message


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("image_sise=64", ("image_sise is not a setting", "did you mean image_size?")),
        ("generator.widht=8", ("generator.widht is not a setting", "did you mean generator.width?")),
        ("wandb.projct=x", ("wandb.projct is not a setting", "mode, project, name")),
        ("batch_size=many", ("batch_size=many", "integer")),
        ("generator.width=wide", ("generator.width=wide", "integer")),
        ("generator.norm=group", ("generator.norm=group", "batch, instance, none")),
        ("generator=unet_512", ("generator=unet_512 is not one of", "unet_256")),
        ("method=pix2pics", ("method=pix2pics is not one of", "did you mean pix2pix?")),
        ("accelerator=gpu", ("accelerator=gpu", "auto, cpu, cuda, mps")),
        ("precision=16", ("precision=16", "bf16-mixed")),
        ("data.direction=BtoC", ("data.direction=BtoC", "AtoB, BtoA")),
        ("image_size", ("'image_size' is not KEY=VALUE",)),
        ("my image=1", ("'my image=1' is not KEY=VALUE",)),
        ("+new=1", ("cannot be added",)),
        ("batch_size=0", ("batch_size=0 must be at least 1",)),
        ("steps=0", ("steps=0 must be more than 0",)),
        ("seed=-1", ("seed=-1",)),
        ("average_decay=1.5", ("average_decay=1.5 is outside 0 to 1",)),
        ("image_size=20", ("image_size=20 does not suit the generator", "multiples of 8", "image_size=16")),
        ("image_size=8", ("image_size=8 is too small for the networks",)),
        ("data.augmentation.load_size=12", ("load_size=12 is smaller than image_size=16",)),
        ("data.augmentation.horizontal_flip=2", ("horizontal_flip=2", "outside 0 to 1")),
        ("discriminator.num_layers=9", ("discriminator.num_layers=9", "1, 2, 3, 4, 5")),
        ("data.layout=sideways", ("data.layout=sideways", "side_by_side")),
        ("data.range_a=[5,5]", ("data.range_a", "low < high")),
        ("accelerator=mps", ("accelerator=mps", "accelerator=cpu")),
    ],
)
def test_a_word_that_is_wrong(word, parts, command, tiny, tmp_path):
    if word == "image_size=8":
        tiny = [*tiny, "discriminator.num_layers=2"]
    fails(command("train", *tiny, "steps=1", word), *parts)
    assert not (tmp_path / "run").exists()


def test_steps_and_epochs_both(command, tiny):
    fails(command("train", *tiny, "steps=1", "epochs=1"), "steps=1 and epochs=1", "give one of them")


def test_image_too_small(command, tiny):
    words = [*tiny, "image_size=64", "data.augmentation.resize=none", "steps=1"]
    fails(command("train", *words), "smaller than image_size=64", "data.augmentation.resize=stretch")


def test_corrupt_files_are_all_listed(command, tiny, pairs):
    (pairs / "image 3.png").write_bytes((pairs / "image 3.png").read_bytes()[:200])
    (pairs / "empty.jpg").touch()
    message = fails(
        command("train", *tiny, "steps=1"), "2 problems", "empty.jpg: is empty", "image 3.png: is truncated"
    )
    assert len(message.splitlines()) == 3


def test_gradient_penalty_with_batch_norm(command, tiny):
    fails(command("train", *tiny, "steps=1", "objective=wasserstein"), "discriminator.norm=instance")


def test_channels_that_the_images_do_not_have(command, tiny):
    fails(
        command("train", *tiny, "data.direction=BtoA", "data.channels_a=2"),
        "has 3 channels, but the images of side A have 2",
    )


def test_b_to_a_with_unequal_channels_just_works(command, tiny, tmp_path):
    folder = tmp_path / "unequal"
    for side, channels in (("A", 1), ("B", 3)):
        (folder / side).mkdir(parents=True)
        for index in range(4):
            cv2.imwrite(str(folder / side / f"{index}.png"), np.full((20, 20, channels), 50 * index, np.uint8))
    done = command("train", *tiny, f"data.root={folder}", "data.direction=BtoA", "steps=1")
    assert done.code == 0, done.err
    assert command("convert", tmp_path / "run", folder / "B", tmp_path / "out").code == 0
    assert cv2.imread(str(tmp_path / "out" / "1.png"), cv2.IMREAD_UNCHANGED).ndim == 2


def test_resume_with_another_architecture(command, tiny, tmp_path):
    assert command("train", *tiny, "steps=1").code == 0
    model = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    fails(
        command("train", *tiny, "steps=2", "generator.width=3"),
        "generator.width was 2, now 3",
        "use another output=FOLDER",
        "resume=never",
    )
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == model


def test_output_with_other_things_in_it(command, tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "holiday.jpg").touch()
    fails(command("train", *tiny, "steps=1"), "holds files that are no run (holiday.jpg)")
    (tmp_path / "file").touch()
    fails(command("train", *tiny, "steps=1", f"output={tmp_path / 'file'}"), "is a file: give a folder")


def test_disk_full(command, tiny, tmp_path, monkeypatch):
    assert command("train", *tiny, "steps=2").code == 0
    model = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    state = (tmp_path / "run" / "state" / "training.pt").read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", "run/model/model.safetensors")

    monkeypatch.setattr(training_run, "write_model", full)
    fails(command("train", *tiny, "steps=4"), "No space left on device", "What was saved before is untouched")
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == model
    assert (tmp_path / "run" / "state" / "training.pt").read_bytes() == state


def test_damaged_state(command, tiny, tmp_path):
    assert command("train", *tiny, "steps=2").code == 0
    (tmp_path / "run" / "state" / "training.pt").write_bytes(b"nothing")
    fails(command("train", *tiny, "steps=4"), "training.pt is damaged", "delete it to train from the start")


def test_convert_without_a_model(command, tmp_path, pairs):
    fails(command("convert", tmp_path / "nowhere", pairs, tmp_path / "out"), "CHECKPOINT", "does not exist")
    fails(command("convert", tmp_path, pairs, tmp_path / "out"), "holds no model")


def test_convert_without_images(command, tiny, tmp_path):
    assert command("train", *tiny, "steps=1").code == 0
    run, out = tmp_path / "run", tmp_path / "out"
    fails(command("convert", run, tmp_path / "nowhere", out), "INPUT", "does not exist")
    (tmp_path / "nothing").mkdir()
    fails(command("convert", run, tmp_path / "nothing", out), "INPUT", "holds no images")


def test_unknown_command_option_and_missing_argument(command):
    fails(command("trian"), "No such command 'trian'")
    fails(command("convert", "--quick"), "--quick")
    fails(command("convert"), "Missing argument 'checkpoint'")


def test_list_of_nothing(command):
    fails(command("list", "colors"), "'colors' is not one of methods, generators")


def test_a_full_disk_is_named_also_when_a_library_reports_it_in_its_own_words(tmp_path, monkeypatch):
    import shutil

    from translate.files import write_atomically

    path = tmp_path / "file"
    path.write_text("old")

    def write(partial):
        partial.write_text("half")
        raise RuntimeError("iostream error")

    with pytest.raises(RuntimeError, match="iostream"):
        write_atomically(path, write)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=0))
    with pytest.raises(OSError, match="No space left on device"):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_networks_that_refuse_the_images_are_found_before_training(command, tiny_for, tmp_path):
    words = [*tiny_for("stargan"), "discriminator=stargan", "discriminator.num_layers=2", "discriminator.image_size=32"]
    for name in ("check", "train"):
        fails(command(name, *words), "discriminator was made for image_size=32", "16x16")
    assert not (tmp_path / "run" / "log.txt").exists()


@pytest.mark.parametrize(
    ("method", "word", "parts"),
    [
        ("cyclegan", "method.history_size=-1", ("method.history_size=-1 must be at least 0",)),
        ("stargan", "schedule.every=0", ("schedule.every=0 must be at least 1",)),
        ("stargan", "data.domains=[dark,lihgt]", ("data.domains names 'lihgt'", "did you mean light?")),
        ("cyclegan", "data.folder_b=C", ("trainA", "data.folder_b=...")),
    ],
)
def test_settings_of_the_methods_that_cannot_be(method, word, parts, command, tiny_for):
    schedule = ["schedule=stargan_reference"] if word.startswith("schedule") else []
    fails(command("train", *tiny_for(method), *schedule, word, "steps=1"), *parts)


def test_a_typo_in_a_recipe_of_ones_own_is_not_dropped_in_silence(command, tiny, tmp_path):
    (tmp_path / "mine" / "recipe").mkdir(parents=True)
    recipe = tmp_path / "mine" / "recipe" / "own.yaml"
    recipe.write_text("# @package _global_\n# translate train recipe=own\ngenerator:\n  widht: 3\n")
    words = [*tiny, "recipe=own", "--config-dir", tmp_path / "mine"]
    fails(command("train", *words), "generator has no setting 'widht'")
    recipe.write_text("# @package _global_\n# translate train recipe=own\ndiscriminator:\n  norm: none\n")
    assert command("train", *words, "steps=1").code == 0


def test_a_joint_run_continues_with_other_workers(command, tiny_for, domains, tmp_path):
    words = [word for word in tiny_for("stargan") if not word.startswith("data")]
    words += ["data=domains_joint", f"data.first.root={domains}", f"data.second.root={tmp_path / 'other'}"]
    for old, new in (("dark", "black"), ("light", "white")):
        shutil.copytree(domains / old, tmp_path / "other" / new)
    assert command("train", *words, "data.workers=0", "steps=1").code == 0
    again = command("train", *words, "data.workers=1", "data.cache_gib=0.1", "steps=2")
    assert again.code == 0, again.err


def test_single_images_in_folders_are_not_cut_into_pairs(command, domains, tmp_path):
    words = [f"data.root={domains}", f"output={tmp_path / 'run'}"]
    fails(command("check", *words), "not wide enough to hold two sides", "data.layout=side_by_side", "method=stargan")


def test_two_sides_are_not_taken_for_domains(command, unpaired):
    fails(command("check", "method=stargan", f"data.root={unpaired}"), "trainA, trainB", "use method=cyclegan")


def test_sides_of_unequal_channels_train_without_the_identity_loss(command, tiny_for, unpaired, tmp_path):
    for path in (unpaired / "trainA").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    words = tiny_for("cyclegan")
    fails(command("train", *words, "steps=1"), "method.identity_weight=0.5 compares images of 1 channels")
    assert command("train", *words, "steps=1", "method.identity_weight=0").code == 0
    assert command("convert", tmp_path / "run", unpaired / "trainB", tmp_path / "out", "--direction", "BtoA").code == 0
    assert cv2.imread(str(tmp_path / "out" / "image 0.png"), cv2.IMREAD_UNCHANGED).ndim == 2


def test_the_hint_after_training_names_the_domains_option(command, tiny_for):
    assert "INPUT OUTPUT --to all\n" in command("train", *tiny_for("stargan"), "steps=1").out
    assert "--to" not in command("train", *tiny_for("cyclegan"), "steps=1", "resume=never").out
