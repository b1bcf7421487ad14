"""The report of a run: one file that holds what the run's files say, and nothing else's markup."""

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import translate
from translate.config import compose_settings
from translate.data.image import write_image
from translate.errors import DivergenceError, UserError
from translate.report.page import SAMPLES, _with_interval
from translate.report.write import refresh_report, write_report
from translate.training.history import recorded

TINY = (
    "image_size=16",
    "generator=unet_64",
    "generator.num_downs=3",
    "generator.width=2",
    "discriminator.num_layers=1",
    "discriminator.width=2",
    "data.workers=0",
    "accelerator=cpu",
)
HOSTILE = "<img src=x onerror=alert(1)>"
VOID = {"meta", "img", "input", "br"}


class Parsed(HTMLParser):
    """Elements with their attributes, text by element, and whether every element ends where it should."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return " ".join(" ".join(data for tag, data in self.texts if tag not in ("script", "style")).split())


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The files of a run that was never trained: 40 lines of the log, 2 measurements, 2 sample grids."""
    folder = tmp_path / "a run"
    (folder / "samples").mkdir(parents=True)
    tree = compose_settings(["data.root=photos", "image_size=128", "generator=unet_128", "steps=400"]).tree
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    rows = [
        {
            "step": step,
            "images": step,
            "epoch": step / 10,
            "learning_rate_factor": 1.0,
            "losses": {"generator_l1": 1 / step, "discriminator_real": -0.25},
            "images_per_second": 5.0,
            "data_wait": 0.1,
        }
        for step in range(10, 401, 10)
    ]
    write_lines(folder / "metrics.jsonl", rows)
    measured = [(200, True, 0.1234), (400, False, 0.1301)]
    write_lines(
        folder / "validation.jsonl",
        [{"step": step, "is_best": best, "metrics": {"l1": value}} for step, best, value in measured],
    )
    for step in (200, 400):
        write_image(folder / "samples" / f"step_{step:07d}.png", np.full((20, 30, 3), step // 2, np.uint8))
    begun = {"event": "began", "time": "2026-01-02 03:04:05", "step": 0, "total_steps": 400, "device": "1 x cpu"}
    begun |= {
        "folder": "/some where",
        "words": ["train", "data.root=photos", "steps=400"],
        "images": {"train pairs": 7},
    }
    write_lines(folder / "history.jsonl", [begun, {"event": "finished", "time": "2026-01-02 03:05:05", "step": 400}])
    return folder


def parse(folder: Path) -> Parsed:
    return Parsed(write_report(folder).read_text(encoding="utf-8"))


def test_it_says_what_the_files_say(run: Path) -> None:
    page = parse(run)
    assert "Finished after 400 steps. Validation l1 was best at step 200: 0.1234." in page.text
    assert "best l1 0.1234 step 200" in page.text
    assert "last l1 0.1301 step 400" in page.text
    assert "trained 1:20 min 400 images" in page.text  # at 5 a second
    assert "train pairs 7" in page.text
    assert "cd '/some where' && translate train data.root=photos steps=800" in page.text
    assert "generator unet_128" in page.text
    assert "image_size 128 256" in page.text  # the value, and the usual one
    data = json.loads(next(text for tag, text in page.texts if tag == "script" and text.startswith("{")))
    curve = next(chart for chart in data["charts"] if "l1" in chart["series"])
    assert curve["steps"] == list(range(10, 401, 10))
    assert curve["series"]["l1"] == [float(f"{1 / step:.6g}") for step in range(10, 401, 10)]


def test_it_needs_nothing_but_itself(run: Path) -> None:
    page = parse(run)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "base")
        assert not any(key.startswith("on") for key in attributes)
        for key in ("src", "href", "srcset", "action"):
            assert (attributes.get(key) or "data:").startswith("data:")
        if tag == "img":
            assert attributes["alt"]
    assert not re.search(r"https?:|url\(|@import", (run / "report.html").read_text())
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_names_are_text_and_never_markup(run: Path) -> None:
    hostile = run.rename(run.with_name(HOSTILE))
    write_image(hostile / "step.png", np.zeros((4, 4, 3), np.uint8))
    extreme = {"kind": "best", "name": HOSTILE, "group": "</script>", "metric": "l1", "value": 0.5}
    files = {"input": "step.png", "output": "step.png", "true answer": "../../secret.png"}
    write_image(hostile.parent.parent / "secret.png", np.zeros((4, 4, 3), np.uint8))
    told = {"metrics": {HOSTILE: {"value": 1, "low": 0, "high": 2}}, "extremes": [extreme | {"images": files}]}
    (hostile / "evaluation_test.json").write_text(json.dumps(told | {"notes": ["</script><script>alert(1)"]}))
    write_lines(
        hostile / "metrics.jsonl",
        [
            {"step": step, "images": 1, "images_per_second": 1, "losses": {f"g_</script>{HOSTILE}": 1.0, "g_b": 2.0}}
            for step in (1, 2)
        ],
    )
    page = parse(hostile)
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert sum(tag == "script" for tag, _ in page.elements) == 2
    assert page.text.count(HOSTILE) >= 4
    compared = [attributes for tag, attributes in page.elements if HOSTILE in (attributes.get("alt") or "")]
    assert [attributes["alt"] for attributes in compared] == [
        f"input of {HOSTILE} to </script>",
        f"output of {HOSTILE} to </script>",
    ]  # what lies outside of the run is not shown


def test_a_run_that_goes_on_has_a_page(run: Path) -> None:
    lines = (run / "history.jsonl").read_text().splitlines()
    (run / "history.jsonl").write_text(lines[0] + "\n")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 410, "los')  # it is being written
    (run / "samples" / "step_0000500.png").write_bytes(b"\x89PNG half")
    page = parse(run)
    assert "No end is on record: at step 400 of 400 when this page was written." in page.text
    assert (
        "continue: the same command again cd '/some where' && translate train data.root=photos steps=400" in page.text
    )
    assert "step 500" not in page.text


def test_a_run_that_has_only_begun_has_a_page(run: Path) -> None:
    for path in run.iterdir():
        if path.name.endswith(".jsonl"):
            path.unlink()
    page = parse(run)
    assert "Nothing has been logged yet." in page.text
    assert "translate convert" not in page.text  # there is no model
    with pytest.raises(UserError, match=r"there is no run in .* \(no config\.yaml\): give the output= of a training"):
        write_report(run.parent)


def test_a_run_without_validation_has_a_page(run: Path) -> None:
    (run / "validation.jsonl").unlink()
    page = parse(run)
    assert "validation:" not in page.text
    assert "Finished after 400 steps." in page.text


def test_how_a_run_ended_is_on_record(run: Path) -> None:
    def end(error: BaseException | None, *, stopped: bool = False) -> str:
        with (
            suppress(UserError, DivergenceError),
            recorded(
                run,
                {"total_steps": 400, "words": ["train", "data.root=photos", "optimizer.lr=1"], "folder": "/some where"},
                step=lambda: 120,
                stopped=lambda: stopped,
                verdict=lambda: None,
                is_first=True,
            ),
        ):
            if error is not None:
                raise error
        (run / "metrics.jsonl").unlink(missing_ok=True)
        return parse(run).text

    assert "Stopped at step 120 of 400." in end(None, stopped=True)
    broken = end(DivergenceError("loss became NaN", step=120))
    assert "Broke down at step 120 of 400." in broken
    assert "Warnings Broke down: loss became NaN" in broken
    anew = "translate train data.root=photos optimizer.lr=2e-05 resume=never"  # a tenth of the 0.0002 in config.yaml
    assert f"begin anew with a tenth of the learning rate cd '/some where' && {anew}" in broken
    assert "Failed at step 120 of 400." in end(UserError("an image is damaged"))
    with recorded(run, {}, step=lambda: 0, stopped=lambda: False, verdict=lambda: None, is_first=False):
        pass  # other processes write nothing
    assert "Failed at step 120 of 400." in parse(run).text


def put_model(run: Path, *words: str, **config: Any) -> None:
    """Make it a run of other settings that has saved a model."""
    (run / "config.yaml").write_text(yaml.safe_dump(compose_settings(["steps=400", *words]).tree))
    (run / "model").mkdir()
    (run / "model" / "config.json").write_text(json.dumps(config))


def test_a_model_of_two_directions_has_commands_for_both(run: Path) -> None:
    put_model(run, "method=cyclegan", "data.root=photos", "data.direction=BtoA", format="")
    page = parse(run)
    assert f"translate convert '{run}' INPUT OTHER_OUTPUT --direction AtoB" in page.text
    assert f"measure on the test images translate evaluate '{run}' copy" in page.text
    assert f"measure the other way translate evaluate '{run}' --direction AtoB" in page.text
    assert "--samples" not in page.text


def test_a_model_of_drawn_letters_is_fine_tuned_on_the_layout_that_its_method_reads(run: Path) -> None:
    put_model(run, "method=pix2pix", "data=glyphs", "generator.latent=8", format="")
    page = parse(run)
    assert f"translate convert '{run}' INPUT OUTPUT --samples 5" in page.text
    assert f"translate finetune 'from={run}' data=paired data.root=FOLDER" in page.text
    assert "--direction" not in page.text


def test_both_sides_are_told_once_where_they_are_alike(run: Path) -> None:
    side = {"channels": 3, "dtype": "uint16", "low": 0, "high": 65535}
    put_model(run, "data.root=photos", source=side, target=side)
    assert "source and target 3 channels, uint16, range 0 to 65535" in parse(run).text
    (run / "model" / "config.json").write_text(json.dumps({"source": side, "target": side | {"channels": 1}}))
    assert "source 3 channels, uint16, range 0 to 65535 target 1 channel, uint16" in parse(run).text


def test_the_metric_shown_is_one_that_tells(run: Path) -> None:
    lines = [(200, {"cycle_source": 0.5, "kernel_distance": 8.0}), (400, {"cycle_source": 0.4, "kernel_distance": 2.0})]
    rows = [{"step": step, "is_best": False, "metrics": metrics} for step, metrics in lines]
    write_lines(run / "validation.jsonl", rows)
    assert "last kernel_distance 2 step 400, from 8 at step 200" in parse(run).text
    write_lines(run / "validation.jsonl", rows[:1])
    assert "last kernel_distance 8 step 200 steps" in parse(run).text


def test_what_a_fine_tuning_begins_with_is_known_before_it_has_a_model(run: Path) -> None:
    assert "Trained from the start" in parse(run).text
    tree = yaml.safe_load((run / "config.yaml").read_text())
    tree["finetune"]["checkpoint"] = "/runs/first"
    (run / "config.yaml").write_text(yaml.safe_dump(tree))
    assert "Lineage To go on from /runs/first." in parse(run).text


def test_distances_say_how_many_images_each_set_has(run: Path) -> None:
    counts = {"model": 21, "input unchanged": 21, "real": 50}
    distances = {"model": {"kernel_distance": 5.0, "kernel_distance_error": 0.5}, "input unchanged": {}}
    told = {"metrics": {"cycle_source": {"value": 0.1, "low": 0.05, "high": 0.2}}, "images": 71}
    told |= {"distances": distances, "set_counts": counts, "input_unchanged": None}
    (run / "evaluation_test_BtoA.json").write_text(json.dumps(told))
    page = parse(run)
    assert "Evaluation: test, BtoA 71 images." in page.text
    assert "model 95 % interval cycle_source 0.1000 0.0500 to 0.2000 distance" in page.text  # nothing of the unchanged
    assert "distance from the 50 real images of the target side kernel_distance" in page.text
    assert "model, 21 images 5 ± 0.98 input unchanged, 21 images -" in page.text  # 1.96 * 0.5


def test_domains_say_who_judged_them_and_of_how_many_images(run: Path) -> None:
    told = {
        "metrics": {},
        "domains": {"dark": {"translations": 6, "recognized": 0.5, "real": 1.0}},
        "mean": {"recognized": 0.5, "real": 1.0},
        "judgement": ["Recognized by somebody."],
        "distances": {"dark": {"kernel_distance": 2.0}},
        "set_counts": {"dark": {"translations": 6, "real": 3}},
    }
    (run / "evaluation_test.json").write_text(json.dumps(told))
    page = parse(run)
    assert "domain translations recognized real images recognized dark 6 50.0% 100.0%" in page.text
    assert "mean of the domains - 50.0% 100.0% Recognized by somebody." in page.text
    assert "of the domain kernel_distance dark, 6 translations, 3 real images 2" in page.text


def test_a_cycle_is_compared_with_its_input(run: Path) -> None:
    titles = ("input", "output", "and back")
    for title in titles:
        write_image(run / f"{title}.png", np.zeros((4, 4, 3), np.uint8))
    extreme = {"kind": "best", "name": "A/1", "group": "", "metric": "cycle_source", "value": 0.5}
    extreme["images"] = {title: f"{title}.png" for title in titles}
    (run / "evaluation_test.json").write_text(json.dumps({"metrics": {}, "extremes": [extreme]}))
    radios = [attributes for _, attributes in parse(run).elements if attributes.get("type") == "radio"]
    pairs = [(radio["data-left"], radio["data-right"]) for radio in radios]
    assert pairs == [("input", "output"), ("input", "and back")]
    assert ["checked" in radio for radio in radios] == [True, False]


def test_a_run_begun_from_python_has_a_page_and_the_command_that_continues_it(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = translate.train(*TINY, f"data.root={pairs}", "output=run", "steps=1", "validation.every=0")
    assert (outcome.folder, outcome.steps, outcome.stopped_by) == (Path("run"), 1, None)
    page = Parsed((tmp_path / "run" / "report.html").read_text())
    assert f"cd {tmp_path} && translate train {' '.join(TINY)} " in page.text
    assert "steps=2" in page.text


def test_the_page_stays_small(run: Path, noise: Callable[..., np.ndarray]) -> None:
    picture = noise((700, 700, 3))  # 1.5 MB each as PNG
    first = run / "samples" / "step_0000001.png"
    write_image(first, picture)
    for step in range(2, 101):
        (run / "samples" / f"step_{step:07d}.png").hardlink_to(first)
    row = {"images_per_second": 5.0, "data_wait": 0.1}
    losses = {f"player{each % 4}_loss{each}": 0.5 for each in range(12)}
    rows = [row | {"step": step, "images": step, "losses": losses} for step in range(1, 3000)]
    write_lines(run / "metrics.jsonl", rows)
    page = parse(run)
    shown = [attributes for tag, attributes in page.elements if tag == "figure" and attributes.get("class") == "sample"]
    assert len(shown) == SAMPLES
    assert "step 1 " in page.text
    assert f"{102 - SAMPLES} more, evenly spread between these, are only there." in page.text
    assert "each point is the mean of 6 lines of the log" in page.text
    assert (run / "report.html").stat().st_size < 15_000_000


def test_a_page_that_cannot_be_written_is_one_line(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh_report(run)
    before = (run / "report.html").stat().st_mtime_ns
    refresh_report(run)
    assert (run / "report.html").stat().st_mtime_ns == before  # nothing new
    write_lines(run / "validation.jsonl", [{"no": "step"}])
    refresh_report(run)
    captured = capsys.readouterr()
    assert captured.err.startswith(f"{run / 'report.html'} could not be written: ")
    assert captured.err.count("\n") == 1


def test_evaluate_adds_the_best_and_the_worst(
    command: Callable[..., Any], pages: None, tiny: list[str], pairs: Path, tmp_path: Path
) -> None:
    (pairs / "image 3.png").rename(pairs / f"{HOSTILE}.png")
    folder = tmp_path / "run"
    assert command("train", *tiny, "steps=2", "log_every=1").code == 0
    page = Parsed((folder / "report.html").read_text())
    assert "train pairs" in page.text
    assert "Evaluation" not in page.text
    assert command("evaluate", folder, "--split", "train").code == 0
    told = json.loads((folder / "evaluation_train.json").read_text())
    assert HOSTILE in [extreme["name"] for extreme in told["extremes"]]
    page = Parsed((folder / "report.html").read_text())
    assert f"{told['images']} images of the model of step 2." in page.text
    assert f"l1 {told['metrics']['l1']['value']:.4f}" in page.text
    shown = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    for extreme in told["extremes"]:
        assert {f"{title} of {extreme['name']}" for title in ("input", "output", "true answer")} <= set(shown)
        assert all((folder / file).is_file() for file in extreme["images"].values())
    ran = command("report", folder)
    assert (ran.code, ran.out) == (0, f"{folder / 'report.html'}\n")


def test_results_on_the_data_of_the_run_come_first_and_others_say_what_they_are_of(run: Path) -> None:
    own, other = {"metrics": {}, "measured_on": {"image_size": 64}}, {"metrics": {}, "other_data": "faces-1f0c2ab3"}
    (run / "evaluation_validation.json").write_text(json.dumps(own))
    (run / "evaluation_test_faces-1f0c2ab3.json").write_text(
        json.dumps(other | {"measured_on": {"data.root": "/my faces", "data.labels": None}})
    )
    text = parse(run).text
    first, second = "Evaluation: validation", "Evaluation: test, other data: faces-1f0c2ab3"
    assert 0 < text.index(first) < text.index(second)
    assert "Measured on the run's own data: image_size=64." in text[: text.index(second)]
    assert "Measured on other data than the model was trained with: data.root=/my faces." in text[text.index(second) :]


def test_the_curve_of_a_metric_has_its_interval_where_it_is_known() -> None:
    row = {"metrics": {"kid": 3.0, "l1": 0.5}, "errors": {"kid": 0.5}}
    assert _with_interval(row, "kid") == pytest.approx({"kid": 3.0, "low": 3 - 0.98, "high": 3 + 0.98})
    assert _with_interval(row, "l1") == pytest.approx({"l1": 0.5, "low": math.nan, "high": math.nan}, nan_ok=True)
