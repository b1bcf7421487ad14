"""`translate check` as it is typed: warnings and the estimate beside what was wrong before."""

import cv2
import numpy as np


def test_warnings_are_shown_and_do_not_change_the_exit_code(command, tiny, pairs):
    ran = command("check", *tiny, "--no-estimate")
    assert ran.code == 0
    assert "Warning 1 of " in ran.out
    assert "only 10 training pairs" in ran.out
    assert "No problems" in ran.out


def test_problems_come_without_warnings(command, tiny, pairs):
    (pairs / "empty.png").touch()
    ran = command("check", *tiny)
    assert ran.code == 2
    assert "Warning" not in ran.out
    assert "Trying" not in ran.out


def test_good_data_gives_no_warning(command, tmp_path):
    generator = np.random.default_rng(0)
    for index in range(240):
        left = generator.integers(0, 256, (20, 20, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.concatenate([left, 255 - left], axis=1))
    ran = command("check", f"data.root={tmp_path}", "image_size=16", "generator=unet_64", "generator.num_downs=3",
                  "discriminator.num_layers=1", f"output={tmp_path / 'run'}", "--no-estimate")  # fmt: skip
    assert ran.code == 0
    assert "Warning" not in ran.out


def test_the_estimate_is_shown_unless_left_out(command, tiny, tmp_path):
    ran = command("check", *tiny, "steps=5000")
    assert ran.code == 0
    for words in ("A step of batch_size=2 takes", "5,000 steps take about", "Peak memory", "Loading a batch in"):
        assert words in ran.out
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["check.png"]
    assert "A step of" not in command("check", *tiny, "--no-estimate").out


def test_a_device_that_is_not_there_is_said_and_the_check_stands(command, tiny, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    ran = command("check", *tiny, "accelerator=cuda")
    assert ran.code == 0
    assert "No estimate: accelerator=cuda" in ran.out


def test_help_names_the_option(command):
    assert "--no-estimate" in command("check", "--help").out
