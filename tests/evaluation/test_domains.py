"""Measuring a model that translates between domains that colour tells apart."""

import csv
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import Tensor, nn

from translate.conversion.torch_engine import TorchEngine
from translate.data.image import write_image
from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.evaluation.classifier import FILE, is_right
from translate.evaluation.domains import DomainEvaluation, Translation, all_requests, domains_remedy, evaluate_domains
from translate.methods.method import Method, Turn
from translate.model import Model
from translate.pixels import Side

SIZE = 16
SIDE = Side(3, "uint8", 0, 255)
COLORS = Domains((LabelSet(("blue", "red"), "one_hot"),))
HAIR = Domains((LabelSet(("black", "blond", "smiling"), "attributes", (("black", "blond"),)),))
SETTINGS = {"dropout_at_test": False, "data": {}}
AUGMENTATION = {"_target_": "translate.data.augmentation.DomainAugmentation", "load_size": SIZE}


class Coloring(Method):
    """Moves what is in one colour channel to the channel of the domain asked for."""

    players: ClassVar = {}
    translators = ()
    size_multiple = 1

    def play(self, batch: Any, step: Any) -> Iterator[Turn]:
        raise NotImplementedError

    def labels(self, source: Tensor, domain: str | None) -> Tensor:
        self.asked = domain
        return source.new_zeros(len(source), 1)

    def translator(self, *, back: bool = False) -> nn.Module:
        return self

    def forward(self, source: Tensor, labels: Tensor) -> Tensor:
        return self.paint(source, self.asked)

    def paint(self, source: Tensor, domain: str | None) -> Tensor:
        colored = torch.full_like(source, -1)
        colored[:, 2 if domain == "blue" else 0] = source.amax(1)
        return colored

    def show(self, batch: Any) -> dict[str, Tensor]:
        raise NotImplementedError


class Unchanged(Coloring):
    """Returns the input."""

    def paint(self, source: Tensor, domain: str | None) -> Tensor:
        return source


class Attributes(Coloring):
    """Turns the top or the bottom half, for `up` and `down`, white for + and black for -."""

    def paint(self, source: Tensor, domain: str | None) -> Tensor:
        assert domain is not None
        changed = source.clone()
        rows = slice(0, SIZE // 2) if "up" in domain else slice(SIZE // 2, SIZE)
        changed[:, :, rows] = 1 if domain[0] == "+" else -1
        return changed


def translator_of(method: Method, domains: Domains = COLORS) -> TorchEngine:
    return TorchEngine(Model(method, SIDE, SIDE, domains, SETTINGS, 0), torch.device("cpu"))


def colored(count: int, channel: int) -> list[np.ndarray]:
    """Images of one colour channel whose brightness is noise, the same for every channel."""
    generator = np.random.default_rng(0)
    images = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    images[..., channel] = generator.integers(100, 256, (count, SIZE, SIZE))
    return list(images)


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of 6 training and 10 test images each in blue and red; images of equal name are twins but for one."""
    root = tmp_path_factory.mktemp("colors")
    for name, channel in (("blue", 2), ("red", 0)):
        for split, count in (("train", 6), ("test", 10)):
            (root / split / name).mkdir(parents=True)
            for index, image in enumerate(colored(count, channel)):
                is_lonely = split == "test" and index == 9
                write_image(root / split / name / f"{f'{name} ' * is_lonely}{index}.png", image)
    return {"image_size": SIZE, "seed": 0, "data": labeled(root, aligned=True)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, colors: dict[str, Any]) -> Path:
    """A folder that holds a trained classifier of the colours."""
    folder = tmp_path_factory.mktemp("run")
    evaluate_domains(translator_of(Unchanged()), colors, folder)
    return folder


def labeled(root: Path, **options: Any) -> dict[str, Any]:
    fractions = {"validation_fraction": 0.0, "test_fraction": 0.0}
    target = {"_target_": "translate.data.labeled.LabeledData"}
    return target | fractions | {"root": str(root), "augmentation": AUGMENTATION} | options


def counting() -> tuple[list[str], Callable[..., Any]]:
    """What bars were drawn for, and what draws them."""
    drawn: list[str] = []

    def bar(what: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
        def wrap(items: Iterable[Any], length: int) -> Iterable[Any]:
            drawn.append(what)
            return items

        return wrap

    return drawn, bar


def test_a_perfect_model_gives_the_twins(colors: dict[str, Any], folder: Path) -> None:
    evaluation = evaluate_domains(translator_of(Coloring()), colors, folder)
    assert evaluation.split == "test"
    for domain in ("blue", "red"):
        row = evaluation.table[domain]
        assert row["translations"] == 10
        assert row["recognized"] == row["real"] == 1
        assert [row[name] for name in ("l1", "psnr", "ssim")] == pytest.approx([0, 100, 1], abs=1e-5)
    assert {name: evaluation.mean[name] for name in ("recognized", "real")} == {"recognized": 1, "real": 1}


def test_the_input_unchanged_is_measured_beside(colors: dict[str, Any], folder: Path) -> None:
    evaluation = evaluate_domains(translator_of(Coloring()), colors, folder)
    # Between twins two of three channels differ, each by the brightness of the image.
    brightness = [image.max(2) / 255 for image in colored(10, 0)[:9]]
    l1 = np.mean([image.mean() * 2 / 3 for image in brightness])
    psnr = np.mean([10 * np.log10(1 / ((image**2).mean() * 2 / 3)) for image in brightness])
    for domain in ("blue", "red"):
        assert evaluation.table[domain]["input l1"] == pytest.approx(l1, abs=1e-5)
        assert evaluation.table[domain]["input psnr"] == pytest.approx(psnr, abs=1e-4)


def test_a_model_that_returns_the_input_is_never_recognized(colors: dict[str, Any], folder: Path) -> None:
    evaluation = evaluate_domains(translator_of(Unchanged()), colors, folder)
    assert [row.recognized for row in evaluation.rows] == [False] * 20
    assert evaluation.mean["recognized"] == 0
    assert evaluation.mean["real"] == 1
    assert evaluation.mean["l1"] == evaluation.mean["input l1"]


def test_the_table_has_a_line_per_translation(tmp_path: Path, colors: dict[str, Any], folder: Path) -> None:
    evaluation = evaluate_domains(translator_of(Coloring()), colors, folder)
    evaluation.write_csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert len(rows) == 20
    assert list(rows["blue/0"]) == ["name", "domain", "recognized", "l1", "psnr", "ssim", "reconstruction"]
    assert rows["blue/0"]["domain"] == "red"
    assert rows["red/0"]["domain"] == "blue"
    assert rows["red/0"]["recognized"] == "1"
    assert float(rows["red/0"]["l1"]) == 0
    assert rows["red/red 9"]["l1"] == ""


def test_without_twins_there_are_no_distances(tmp_path: Path, colors: dict[str, Any]) -> None:
    data = colors["data"] | {"aligned": False}
    evaluation = evaluate_domains(translator_of(Coloring()), colors | {"data": data}, tmp_path, classifier_steps=1)
    assert evaluation.classifier_steps == 1
    assert list(evaluation.mean) == ["recognized", "real", "reconstruction"]


def test_training_ends_once_the_classifier_is_right(colors: dict[str, Any], folder: Path) -> None:
    assert 20 <= evaluate_domains(translator_of(Coloring()), colors, folder).classifier_steps < 60


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, colors: dict[str, Any]) -> bytes:
    """The file of a classifier that was trained for one step."""
    folder = tmp_path_factory.mktemp("short")
    evaluate_domains(translator_of(Coloring()), colors, folder, classifier_steps=1)
    return (folder / FILE).read_bytes()


def test_a_classifier_that_fits_is_not_trained_anew(tmp_path: Path, colors: dict[str, Any], short: bytes) -> None:
    (tmp_path / FILE).write_bytes(short)
    drawn, bar = counting()
    evaluation = evaluate_domains(translator_of(Coloring()), colors, tmp_path, classifier_steps=1, bar=bar)
    assert drawn == ["reading images", "translating"]
    assert evaluation.classifier_steps == 1
    assert (tmp_path / FILE).read_bytes() == short


@pytest.mark.parametrize("change", ["damaged", "cut short", "foreign", "size", "augmentation", "steps"])
def test_a_classifier_that_does_not_fit_is_trained_anew(
    tmp_path: Path, colors: dict[str, Any], short: bytes, change: str
) -> None:
    contents = {"damaged": b"damaged", "cut short": short[:-1]}
    contents["foreign"] = short.replace(b"translate-classifier", b"translated-classics!")
    others: dict[str, dict[str, Any]] = {"size": {"image_size": 8}}
    others["augmentation"] = {"data": colors["data"] | {"augmentation": AUGMENTATION | {"load_size": SIZE + 1}}}
    (tmp_path / FILE).write_bytes(contents.get(change, short))
    drawn, bar = counting()
    settings, steps = colors | others.get(change, {}), 2 if change == "steps" else 1
    evaluation = evaluate_domains(translator_of(Coloring()), settings, tmp_path, classifier_steps=steps, bar=bar)
    assert drawn == ["reading images", "training the classifier", "translating"]
    assert evaluation.classifier_steps == steps


def test_other_training_images_make_another_classifier(tmp_path: Path, short: bytes, colors: dict[str, Any]) -> None:
    root = Path(colors["data"]["root"])
    (tmp_path / FILE).write_bytes(short)
    added = root / "train" / "blue" / "added.png"
    write_image(added, colored(1, 2)[0])
    drawn, bar = counting()
    try:
        evaluate_domains(translator_of(Coloring()), colors, tmp_path, classifier_steps=1, bar=bar)
    finally:
        added.unlink()
    assert "training the classifier" in drawn


def test_the_classifier_depends_on_the_images_alone_and_leaves_chance_as_it_was(
    tmp_path: Path, colors: dict[str, Any], short: bytes
) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    for seed in (1, 2):  # trained, then recalled
        evaluate_domains(translator_of(Coloring()), colors | {"seed": seed}, tmp_path, classifier_steps=1)
        assert torch.equal(torch.random.get_rng_state(), before)
    made, again = load(short), load((tmp_path / FILE).read_bytes())
    assert all(torch.equal(made[name], again[name]) for name in made)


def test_attributes_are_added_where_they_lack_and_taken_away_where_they_are(tmp_path: Path) -> None:
    lines = ["image,up,down,split"]
    for index in range(24):
        image = np.random.default_rng(index).integers(0, 30, (SIZE, SIZE, 3), np.uint8)
        has_up, has_down = index % 2, index // 2 % 2
        image[: SIZE // 2] += np.uint8(220 * has_up)
        image[SIZE // 2 :] += np.uint8(220 * has_down)
        write_image(tmp_path / f"{index}.png", image)
        lines.append(f"{index}.png,{has_up},{has_down},{'train' if index < 12 else 'test'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    augmentation = AUGMENTATION | {"horizontal_flip": 0.5}
    data = labeled(tmp_path / "labels.csv", kind="attributes", augmentation=augmentation)
    domains = Domains((LabelSet(("up", "down"), "attributes"),))
    settings = {"image_size": SIZE, "seed": 0, "data": data}
    evaluation = evaluate_domains(translator_of(Attributes(), domains), settings, tmp_path)
    assert list(evaluation.table) == ["+up", "+down", "-up", "-down"]
    assert {row.name for row in evaluation.rows if row.request == "+up"} == {"12", "14", "16", "18", "20", "22"}
    assert {row.name for row in evaluation.rows if row.request == "-down"} == {"14", "15", "18", "19", "22", "23"}
    for row in evaluation.table.values():
        assert {name: row[name] for name in row if name != "reconstruction"} == {
            "translations": 6,
            "recognized": 1,
            "real": 1,
        }


def test_requests_of_attributes_leave_rivals_to_each_other() -> None:
    found = [(request.text, request.place, request.value) for request in all_requests(HAIR)]
    assert found == [("+black", 0, True), ("+blond", 1, True), ("+smiling", 2, True), ("-smiling", 2, False)]


def test_means_count_every_domain_alike_and_leave_out_what_is_not_known() -> None:
    rows = [Translation("a", "red", True, {"l1": 0.5}), Translation("b", "red", False, {"l1": 0.1})]
    rows += [Translation("c", "blue", True, reconstruction=0.25)]
    evaluation = DomainEvaluation("test", rows, {"red": [True, True], "blue": [True, False], "green": []}, 7)
    assert evaluation.table == {
        "red": {"translations": 2, "recognized": 0.5, "real": 1, "l1": 0.3},
        "blue": {"translations": 1, "recognized": 1, "real": 0.5, "reconstruction": 0.25},
        "green": {"translations": 0},
    }
    assert evaluation.mean == {"recognized": 0.75, "real": 0.75, "l1": 0.3, "reconstruction": 0.25}


def test_domains_are_decided_by_the_largest_or_by_the_sign() -> None:
    both = Domains(COLORS.sets + HAIR.sets)
    logits = torch.tensor([[-2.0, -1.0, 0.5, -0.5, 3.0]])
    assert both.recognized(logits).tolist() == [[False, True, True, False, True]]


def test_only_known_labels_can_be_wrong() -> None:
    both = Domains(COLORS.sets + HAIR.sets)
    logits = torch.tensor([[-2.0, -1.0, 0.5, -0.5, 3.0]]).expand(4, -1)
    labels = torch.tensor(
        [
            both.vector(0, (0, 1)),  # the logits say red; what they say of hair is not asked
            both.vector(0, (1, 0)),
            both.vector(1, (1, 0, 1)),
            both.vector(1, (1, 1, 1)),
        ]
    )
    assert is_right(logits, labels, both).tolist() == [True, False, True, False]


def test_two_sets_are_measured_each_on_its_own_images(tmp_path: Path, colors: dict[str, Any]) -> None:
    root = tmp_path / "greens"
    for name, level in (("dark", 80), ("light", 250)):
        for split, count in (("train", 4), ("test", 3)):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                write_image(root / split / name / f"{index}.png", np.full((SIZE, SIZE, 3), (0, level, 0), np.uint8))
    data = {
        "_target_": "translate.data.joint.JointData",
        "first": colors["data"],
        "second": labeled(root),
        "workers": None,
        "cache_gib": 0.0,
    }
    domains = Domains((*COLORS.sets, LabelSet(("dark", "light"), "one_hot")))
    evaluation = evaluate_domains(
        translator_of(Unchanged(), domains), colors | {"data": data}, tmp_path, classifier_steps=1
    )
    counts = {request: row["translations"] for request, row in evaluation.table.items()}
    assert counts == {"blue": 10, "red": 10, "dark": 3, "light": 3}
    assert {request: len(real) for request, real in evaluation.real.items()} == counts
    assert {row.name for row in evaluation.rows if row.request == "dark"} == {"light/0", "light/1", "light/2"}


def test_glyphs_have_twins(tmp_path: Path, colors: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translate.data.glyph_data.draw_dataset", lambda root, **options: None)
    root = Path(colors["data"]["root"])
    for split in ("train", "test"):
        for style, color in (("regular", "blue"), ("outline", "red")):
            shutil.copytree(root / split / color, tmp_path / "glyphs" / split / style)
    data = {
        "_target_": "translate.data.glyph_data.GlyphData",
        "root": str(tmp_path / "glyphs"),
        "styles": ["regular", "outline"],
        "augmentation": {"_target_": "translate.data.augmentation.Augmentation", "load_size": SIZE},
        "validation_fraction": 0.0,
    }
    domains = Domains((LabelSet(("regular", "outline"), "one_hot"),))
    settings = {"image_size": SIZE, "seed": 0, "data": data}
    evaluation = evaluate_domains(translator_of(Unchanged(), domains), settings, tmp_path, classifier_steps=1)
    assert evaluation.table["outline"]["l1"] == pytest.approx(evaluation.table["regular"]["l1"])
    assert sum(bool(row.metrics) for row in evaluation.rows) == 18


def test_data_of_other_domains_is_refused(tmp_path: Path, colors: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        evaluate_domains(translator_of(Coloring(), HAIR), colors, tmp_path)
    assert str(caught.value) == (
        "the data's domains are blue, red (one_hot), but the model was trained with black, blond, smiling "
        "(attributes). They share none: where the model has another name for what is blue, red here, rename that in "
        "the data"
    )


def test_a_model_of_more_domains_in_another_order_is_measured_on_those_with_images(
    tmp_path: Path, colors: dict[str, Any]
) -> None:
    known = Domains((LabelSet(("red", "green", "blue"), "one_hot"),))
    evaluation = evaluate_domains(translator_of(Coloring(), known), colors, tmp_path, classifier_steps=1)
    assert evaluation.unseen == ("green",)
    assert {request: row["translations"] for request, row in evaluation.table.items()} == {"red": 10, "blue": 10}
    assert [row["l1"] for row in evaluation.table.values()] == pytest.approx([0, 0], abs=1e-5)


def test_data_without_labels_is_refused(tmp_path: Path) -> None:
    data = {"_target_": "translate.data.paired.PairedData", "root": "nowhere"}
    with pytest.raises(UserError, match=r"needs labels, but its data set gives pairs .* data=domains data.root=FOLDER"):
        evaluate_domains(translator_of(Coloring()), {"image_size": SIZE, "data": data}, tmp_path)


def test_an_empty_split_names_those_that_have_images(tmp_path: Path, colors: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="the split 'validation' has no images; those that have are train, test"):
        evaluate_domains(translator_of(Coloring()), colors, tmp_path, "validation")


def test_domains_that_do_not_fit_are_told_with_the_words_that_do() -> None:
    assert domains_remedy(["red", "blue", "pink"], ["blue", "red", "green"]) == (
        "To measure those that both have: 'data.domains=[blue,red]'; where the model has another name for what is pink "
        "here, rename that in the data"
    )
    assert domains_remedy(["rot", "blau"], ["red", "blue"]) == (
        "They share none: where the model has another name for what is rot, blau here, rename that in the data"
    )
    assert "data.kind" in domains_remedy(["red"], ["red", "blue"])
