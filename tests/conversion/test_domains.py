"""Models of many domains: what is asked for, where it goes, and what a model folder keeps of it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import translate
from translate.conversion.torch_engine import TorchEngine
from translate.conversion.translator import Translator
from translate.data.image import read_image, write_image
from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.model import assemble, read_model, write_model
from translate.model_folder import CONFIG, WEIGHTS
from translate.picture import TITLE_HEIGHT, title_row
from translate.pixels import Side, denormalize, normalize
from translate.training.checkpoint import read_state

Make = Callable[..., Translator]
Run = Callable[..., Any]
COLOR = Side(3, "uint8", 0, 255)
LIGHTS = ("red", "green", "blue")
FACES = ("smiling", "young", "hat")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a.png and deep/b.png, noise of 6 x 8 pixels."""
    generator = np.random.default_rng(0)
    for name in ("a.png", "deep/b.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "in" / name, generator.integers(0, 256, (6, 8, 3), np.uint8))
    return tmp_path / "in"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where converted images go; not there yet, and nothing may appear beside it."""
    return tmp_path / "around" / "out"


@pytest.fixture
def convert(command: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`translate convert MODEL ARGUMENTS` with a given translator as the model."""

    def run(translator: Translator, *arguments: object) -> Any:
        monkeypatch.setattr("translate.conversion.translator.load_translator", lambda *_, **__: translator)
        return command("convert", "MODEL", *arguments)

    return run


def tree(folder: Path) -> list[str]:
    """Every file below a folder but the logs."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and ".translate" not in path.parts
    )


def kept(image: np.ndarray, *colours: int) -> np.ndarray:
    """The result by hand: these colours as they are, the others negative."""
    return np.stack([image[..., place] if place in colours else 255 - image[..., place] for place in range(3)], axis=2)


def assert_kept(written: Path, original: Path, *colours: int) -> None:
    np.testing.assert_array_equal(read_image(written), kept(read_image(original), *colours))


# --- places ---


@pytest.mark.parametrize("word", ["green", "GREEN", "+green"])
def test_one_domain_is_mirrored_directly(labeled: Make, convert: Run, source: Path, output: Path, word: str) -> None:
    ran = convert(labeled(*LIGHTS), source, output, "--to", word)
    assert ran.code == 0
    assert "2 converted, 0 skipped, 0 failed" in ran.out
    assert tree(output) == ["a.png", "deep/b.png"]
    for name in tree(output):
        assert_kept(output / name, source / name, 1)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--to", "all"], LIGHTS),
        (["--to", "blue", "--to", "Red"], ("blue", "red")),
        (["--to", "blue", "--to", "red", "--to", "BLUE"], ("blue", "red")),
        (["--to", "blue", "--to", "all"], LIGHTS),
        (["--to", "all", "--batch-size", "4"], LIGHTS),
    ],
)
def test_several_domains_get_a_folder_each(
    labeled: Make, convert: Run, source: Path, output: Path, words: list[str], expected: tuple[str, ...]
) -> None:
    ran = convert(labeled(*LIGHTS), source, output, *words)
    assert ran.code == 0
    assert f"{2 * len(expected)} converted, 0 skipped, 0 failed" in ran.out
    assert tree(output) == sorted(f"{domain}/{name}" for domain in expected for name in ("a.png", "deep/b.png"))
    for domain in expected:
        for name in ("a.png", "deep/b.png"):
            assert_kept(output / domain / name, source / name, LIGHTS.index(domain))


def test_a_domain_named_twice_is_one(labeled: Make, source: Path, output: Path) -> None:
    labeled(*LIGHTS).convert_folder(source, output, to=["red", "RED", "+red"])
    assert tree(output) == ["a.png", "deep/b.png"]


def test_one_image_into_one_domain_may_be_named(labeled: Make, source: Path, output: Path) -> None:
    labeled(*LIGHTS).convert_folder(source / "a.png", output / "new.png", to=["red"])
    assert tree(output) == ["new.png"]
    assert_kept(output / "new.png", source / "a.png", 0)


def test_one_image_into_several_domains(labeled: Make, convert: Run, source: Path, output: Path) -> None:
    ran = convert(labeled(*LIGHTS), source / "deep" / "b.png", output, "--to", "all", "--format", "tiff")
    assert ran.code == 0
    assert tree(output) == ["blue/b.tif", "green/b.tif", "red/b.tif"]
    for place, domain in enumerate(LIGHTS):
        assert_kept(output / domain / "b.tif", source / "deep" / "b.png", place)


@pytest.mark.parametrize("inside", ["", "a.png"])
def test_several_domains_do_not_fit_into_one_image(
    labeled: Make, convert: Run, source: Path, output: Path, inside: str
) -> None:
    ran = convert(labeled(*LIGHTS), source / inside, output / "x.PNG", "--to", "all")
    assert ran.code == 2
    assert "x.PNG is one image, but 3 domains were asked for: give a folder" in ran.err
    assert not output.exists()


def test_the_folder_of_a_domain_must_not_be_the_input(labeled: Make, convert: Run, source: Path) -> None:
    domain = source.name
    ran = convert(labeled(domain, "y", "z"), source, source.parent, "--to", "all")
    assert ran.code == 2
    assert "where outputs would become inputs" in ran.err
    assert tree(source.parent) == ["in/a.png", "in/deep/b.png"]


# --- domain names as folders ---


@pytest.mark.parametrize(
    ("domain", "folder"),
    [
        ("Van Gogh", "Van Gogh"),
        ("ünï 日本", "ünï 日本"),
        ("v1.5", "v1.5"),
        (".hidden", ".hidden"),
        ("a/b", "a_b"),
        ("../x", ".._x"),
        ("../../x", ".._.._x"),
        ("/etc", "_etc"),
        ("..\\x", ".._x"),
        ("C:\\x", "C__x"),
        ("what?\n\0", "what___"),
        (".", "._"),
        ("..", ".._"),
        ("...", "..._"),
        ("photo.png", "photo.png_"),
        ("comparison.png", "comparison.png_"),
        ("failures.jsonl", "failures.jsonl_"),
        ("input", "input"),
        ("output", "output"),
    ],
)
@pytest.mark.parametrize("single", [False, True])
def test_no_name_leads_out_of_the_output(
    labeled: Make, source: Path, output: Path, domain: str, folder: str, single: bool
) -> None:
    report = labeled("plain", domain, "z").convert_folder(
        source / "a.png" if single else source, output, to=["plain", domain], compare=True
    )
    names = ["a.png"] if single else ["a.png", "deep/b.png"]
    expected = [f"{place}/{name}" for place in ("plain", folder) for name in names]
    assert tree(output.parent) == sorted(f"out/{name}" for name in [*expected, "comparison.png"])
    assert report.failures == []
    assert_kept(output / folder / "a.png", source / "a.png", 1)
    assert_kept(output / "plain" / "a.png", source / "a.png", 0)


@pytest.mark.parametrize("domain", ["..", "../x", "/etc", "a.png"])
def test_one_domain_leaves_its_name_out_of_the_place(labeled: Make, source: Path, output: Path, domain: str) -> None:
    labeled(domain, "y", "z").convert_folder(source / "a.png", output, to=[domain])
    assert tree(output.parent) == ["out/a.png"]


@pytest.mark.parametrize(
    ("first", "second"),
    [("a/b", "a_b"), ("a/b", "a\\b"), ("Cat", "cat"), ("é", "e\N{COMBINING ACUTE ACCENT}"), ("..", ".._")],
)
def test_two_domains_of_one_folder_are_refused(
    labeled: Make, convert: Run, source: Path, output: Path, first: str, second: str
) -> None:
    model = labeled(first, second, "z")
    ran = convert(model, source, output, "--to", "all")
    assert ran.code == 2
    assert f"the domains {first!r} and {second!r} would both become the folder" in ran.err
    assert "ask for one at a time" in ran.err
    assert not output.exists()
    assert convert(model, source, output, "--to", first, "--to", "z").code == 0  # any one of them goes


# --- what may be asked for ---


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "this model translates into several domains: name one, as red, or all. Its domains are red, green, blue"),
        (
            ["--to", "gren"],
            "'gren' is not one of the model's domains (did you mean green?): red, green, blue, or all",
        ),
        (["--to", "red", "--to", "xyz"], "'xyz' is not one of the model's domains: red, green, blue, or all"),
        (["--to", "-red"], "'-red': an image shows exactly one of red, green, blue; name that one alone"),
        (["--to", "red,blue"], "'red,blue': an image shows exactly one of red, green, blue; name that one alone"),
        (["--to", ""], "the domain '' is empty; it is one of red, green, blue, or all"),
    ],
)
def test_wrong_requests_say_what_there_is(
    labeled: Make, convert: Run, source: Path, output: Path, words: list[str], message: str, dry: list[str]
) -> None:
    ran = convert(labeled(*LIGHTS), source, output, *words, *dry)
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert not output.parent.exists()


def test_a_model_without_domains_takes_none(negative: Make, convert: Run, source: Path, output: Path) -> None:
    ran = convert(negative(), source, output, "--to", "red")
    assert ran.code == 2
    assert "the domain 'red' was asked for, but this model has no domains" in ran.err
    assert not output.exists()
    assert convert(negative(), source, output).code == 0


def test_a_model_of_domains_takes_no_direction(labeled: Make) -> None:
    for direction in ("AtoB", "BtoA"):
        with pytest.raises(UserError, match=f"direction={direction}: this model translates into domains"):
            TorchEngine(labeled(*LIGHTS).engine.model, torch.device("cpu"), direction=direction)


def test_a_domain_called_all_is_itself(labeled: Make, source: Path, output: Path) -> None:
    labeled("x", "all", "z").convert_folder(source, output, to=["all"])
    assert tree(output) == ["a.png", "deep/b.png"]
    assert_kept(output / "a.png", source / "a.png", 1)


# --- from Python ---


def test_images_are_translated_into_a_named_domain(labeled: Make, source: Path) -> None:
    image = read_image(source / "a.png")
    for place, domain in enumerate(LIGHTS):
        np.testing.assert_array_equal(labeled(*LIGHTS)(image, domain=domain), kept(image, place))
        np.testing.assert_array_equal(labeled(*LIGHTS)(str(source / "a.png"), domain.upper()), kept(image, place))


def test_an_image_needs_exactly_one_domain(labeled: Make, source: Path) -> None:
    model, image = labeled(*LIGHTS), read_image(source / "a.png")
    with pytest.raises(UserError, match="several domains: name one of red, green, blue"):
        model(image)
    with pytest.raises(UserError, match="one domain at a time, not 'all': name one of red, green, blue"):
        model(image, domain="all")
    with pytest.raises(UserError, match=r"'gren' is not one of the model's domains \(did you mean green\?\)"):
        model(image, domain="gren")


@pytest.mark.parametrize("words", ["green", ["green"], ("green",)])
def test_one_domain_needs_no_list(labeled: Make, source: Path, output: Path, words: Any) -> None:
    report = labeled(*LIGHTS).convert_folder(source, output, to=words)
    assert report.converted == 2
    assert tree(output) == ["a.png", "deep/b.png"]
    assert_kept(output / "a.png", source / "a.png", 1)


def test_one_letter_domains_are_not_the_letters_of_a_word(labeled: Make, source: Path, output: Path) -> None:
    with pytest.raises(UserError, match="'ab' is not one of the model's domains"):
        labeled("a", "b", "c").convert_folder(source, output, to="ab")


@pytest.mark.parametrize("words", [(), []])
def test_a_folder_needs_a_domain(labeled: Make, source: Path, output: Path, words: Any) -> None:
    with pytest.raises(UserError, match="name one, as red, or all"):
        labeled(*LIGHTS).convert_folder(source, output, to=words)
    assert not output.exists()


# --- attributes ---


def two_tone() -> np.ndarray:
    """A picture that shows the first attribute and neither other one, to `ColorSeeing`."""
    return np.broadcast_to(np.array([200, 50, 100], np.uint8), (6, 8, 3)).copy()


@pytest.mark.parametrize(
    ("request_", "colours"),
    [
        ("+smiling", [0]),
        ("-smiling", []),
        ("+young", [0, 1]),
        ("young", [0, 1]),
        ("-hat", [0]),
        ("-smiling +HAT", [2]),
        ("+smiling -young", [0]),
        ("-smiling,+young,+hat", [1, 2]),
    ],
)
def test_attributes_change_what_the_image_shows(labeled: Make, request_: str, colours: list[int]) -> None:
    model = labeled(*FACES, kind="attributes")
    np.testing.assert_array_equal(model(two_tone(), domain=request_), kept(two_tone(), *colours))


@pytest.mark.parametrize(("request_", "colours"), [("+young", [1]), ("-smiling", []), ("+hat", [0, 2])])
def test_a_group_keeps_one_of_its_attributes(labeled: Make, request_: str, colours: list[int]) -> None:
    model = labeled(*FACES, kind="attributes", exclusive=(("smiling", "young"),))
    np.testing.assert_array_equal(model(two_tone(), domain=request_), kept(two_tone(), *colours))


def test_of_a_group_the_clearest_attribute_is_seen(labeled: Make) -> None:
    both = np.broadcast_to(np.array([200, 220, 100], np.uint8), (6, 8, 3)).copy()
    grouped = labeled(*FACES, kind="attributes", exclusive=(("smiling", "young"),))
    np.testing.assert_array_equal(grouped(both, domain="+hat"), kept(both, 1, 2))
    np.testing.assert_array_equal(labeled(*FACES, kind="attributes")(both, domain="+hat"), kept(both, 0, 1, 2))


def test_each_image_of_a_folder_keeps_its_own_attributes(labeled: Make, source: Path, output: Path) -> None:
    write_image(source / "a.png", two_tone())
    write_image(source / "deep" / "b.png", two_tone()[..., ::-1].copy())
    model = labeled(*FACES, kind="attributes")
    model.convert_folder(source, output, to=["+young"], batch_size=2)
    assert_kept(output / "a.png", source / "a.png", 0, 1)
    # 100, 50, 200: only the last of them is bright.
    assert_kept(output / "deep" / "b.png", source / "deep" / "b.png", 1, 2)


def test_every_attribute_request_gets_a_folder(labeled: Make, convert: Run, source: Path, output: Path) -> None:
    model = labeled(*FACES, kind="attributes")
    ran = convert(model, source / "a.png", output, "--to", "-young", "--to", "+Smiling -YOUNG", "--to", "hat")
    assert ran.code == 0
    assert tree(output) == ["+hat/a.png", "+smiling -young/a.png", "-young/a.png"]


def test_all_attributes_of_a_group_are_only_added(labeled: Make, source: Path, output: Path) -> None:
    model = labeled(*FACES, kind="attributes", exclusive=(("smiling", "young"),))
    model.convert_folder(source / "a.png", output, to="all")
    assert tree(output) == ["+hat/a.png", "+smiling/a.png", "+young/a.png", "-hat/a.png"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("+smiling -smiling", "contradicts itself: smiling"),
        ("+smiling +young", "contradicts itself: smiling"),
        ("+smilng", r"'smilng' is not one of .*did you mean smiling"),
    ],
)
def test_attributes_that_cannot_be_had_together(
    labeled: Make, convert: Run, source: Path, output: Path, word: str, message: str
) -> None:
    model = labeled(*FACES, kind="attributes", exclusive=(("smiling", "young"),))
    with pytest.raises(UserError, match=message):
        model(two_tone(), domain=word)
    assert convert(model, source, output, "--to", word).code == 2
    assert not output.exists()


# --- going on, and what goes wrong ---


def test_each_domain_goes_on_for_itself(labeled: Make, convert: Run, source: Path, output: Path) -> None:
    model = labeled(*LIGHTS)
    model.convert_folder(source, output, to=["red", "blue"])
    (output / "red" / "a.png").write_text("changed")
    (output / "blue" / "deep" / "b.png").unlink()
    dry = convert(model, source, output, "--to", "all", "--dry-run")
    assert dry.out.splitlines() == [
        f"{source / 'a.png'} -> {output / 'red' / 'a.png'}",
        f"{source / 'a.png'} -> {output / 'green' / 'a.png'}",
        f"{source / 'deep' / 'b.png'} -> {output / 'green' / 'deep' / 'b.png'}",
        f"{source / 'deep' / 'b.png'} -> {output / 'blue' / 'deep' / 'b.png'}",
        "4 to convert (3 new, 1 changed), 2 in OUTPUT already",
    ]
    assert not (output / "green").exists()
    ran = convert(model, source, output, "--to", "all")
    assert ran.code == 0
    assert "4 converted, 2 skipped, 0 failed" in ran.out
    assert_kept(output / "red" / "a.png", source / "a.png", 0)
    assert "6 converted, 0 skipped" in convert(model, source, output, "--to", "all", "--overwrite").out
    assert_kept(output / "red" / "a.png", source / "a.png", 0)


def test_a_bad_image_is_one_failure_for_all_domains(labeled: Make, convert: Run, source: Path, output: Path) -> None:
    bad = source / "deep" / "bad.png"
    bad.write_bytes(b"")
    ran = convert(labeled(*LIGHTS), source, output, "--to", "all")
    assert ran.code == 1
    assert "6 converted, 0 skipped, 1 failed" in ran.out
    assert ran.out.count(f"{bad}: is empty") == 1
    [line] = (output / "failures.jsonl").read_text().splitlines()
    assert json.loads(line) == {"input": str(bad), "reason": "is empty"}
    expected = [f"{domain}/{name}" for domain in LIGHTS for name in ("a.png", "deep/b.png")]
    assert tree(output) == sorted(["failures.jsonl", *expected])
    bad.unlink()
    assert convert(labeled(*LIGHTS), source, output, "--to", "all").code == 0
    assert tree(output) == sorted(expected)


@pytest.mark.parametrize("words", [["red"], ["red", "blue"]])
def test_one_bad_image_alone_is_a_failure(labeled: Make, source: Path, output: Path, words: list[str]) -> None:
    (source / "a.png").write_bytes(b"")
    report = labeled(*LIGHTS).convert_folder(source / "a.png", output, to=words, compare=True)
    assert report.failures == [(source / "a.png", "is empty")]
    assert report.comparison is None
    assert tree(output) == []


def test_the_progress_hears_of_every_domain(labeled: Make, source: Path, output: Path) -> None:
    (source / "bad.png").write_bytes(b"")
    (output / "red").mkdir(parents=True)
    (output / "red" / "a.png").touch()
    seen = []
    report = labeled(*LIGHTS).convert_folder(
        source, output, to="all", progress=lambda report: seen.append((report.finished, report.total))
    )
    # The file that was there, the bad image in three domains at once, and five results.
    assert sorted(seen) == [(1, 9), *((count, 9) for count in range(4, 10))]
    assert (report.converted, report.failed) == (5, 2)


# --- the comparison ---


@pytest.mark.parametrize("names", [LIGHTS, ("input", "output", "comparison.png")])
def test_the_sheet_shows_the_input_and_every_domain(
    labeled: Make, source: Path, output: Path, names: tuple[str, ...]
) -> None:
    report = labeled(*names).convert_folder(source, output, to="all", compare=True)
    assert report.comparison == output / "comparison.png"
    sheet = read_image(output / "comparison.png")
    # 6 x 8 pixels in the middle of squares of 8 with a margin of 2: cells of 12; 8 cells a line hold 2 images.
    assert sheet.shape == (TITLE_HEIGHT + 12, 2 * 4 * 12, 3)
    np.testing.assert_array_equal(sheet[:TITLE_HEIGHT], title_row(["input", *names] * 2, 96))
    for index, name in enumerate(("a.png", "deep/b.png")):
        image = read_image(source / name)
        cells = [sheet[TITLE_HEIGHT + 3 :][:6, 48 * index + 12 * place + 2 :][:, :8] for place in range(4)]
        for cell, expected in zip(cells, [image, *(kept(image, place) for place in range(3))], strict=True):
            np.testing.assert_array_equal(cell, expected)


def test_one_domain_titles_its_column(labeled: Make, source: Path, output: Path) -> None:
    labeled(*LIGHTS).convert_folder(source, output, to="blue", compare=True)
    sheet = read_image(output / "comparison.png")
    assert sheet.shape == (TITLE_HEIGHT + 12, 2 * 2 * 12, 3)
    np.testing.assert_array_equal(sheet[:TITLE_HEIGHT], title_row(["input", "blue"] * 2, 48))


def test_the_sheet_leaves_a_blank_where_a_domain_was_there_already(labeled: Make, source: Path, output: Path) -> None:
    (source / "deep" / "b.png").rename(source.parent / "b.png")
    labeled(*LIGHTS).convert_folder(source, output, to=["red", "blue"])
    (source.parent / "b.png").rename(source / "deep" / "b.png")
    labeled(*LIGHTS).convert_folder(source, output, to=["red", "blue"], compare=True)
    sheet = read_image(output / "comparison.png")
    # Only deep/b.png was left to do, so that it is alone on the sheet.
    assert sheet.shape == (TITLE_HEIGHT + 12, 3 * 12, 3)
    labeled(*LIGHTS).convert_folder(source, output, to=["red", "green"], compare=True)
    sheet = read_image(output / "comparison.png")
    assert sheet.shape == (TITLE_HEIGHT + 12, 2 * 2 * 12, 3)  # red is there: input and green of both images


# --- model folders ---


@pytest.fixture
def trained(command: Run, tiny_for: Callable[[str], list[str]], tmp_path: Path) -> Path:
    """A run of two steps in which both players moved."""
    done = command("train", *tiny_for("stargan"), "steps=2", "method.n_critic=1")
    assert done.code == 0, done.err
    return tmp_path / "run"


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change config.json."""
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def trained_generator(run: Path) -> torch.nn.Module:
    """The generator as training left it, in training mode, rebuilt from the state that resume reads."""
    state, config = read_state(run), json.loads((run / "model" / CONFIG).read_text())
    assert state is not None
    method = assemble(
        config["settings"],
        source=Side(**config["source"]),
        target=Side(**config["target"]),
        domains=Domains.from_dict(config["domains"]),
    )
    generator: torch.nn.Module = method.networks["generator"]
    generator.load_state_dict(state["networks"]["generator"])
    return generator.train()


def as_batch(image: np.ndarray) -> torch.Tensor:
    return normalize(torch.from_numpy(image).permute(2, 0, 1)[None], 0, 255)


def test_a_trained_model_comes_back_bit_for_bit(trained: Path, command: Run, tmp_path: Path) -> None:
    config = json.loads((trained / "model" / CONFIG).read_text())
    assert config["domains"] == {"sets": [{"names": ["dark", "light"], "kind": "one_hot", "exclusive": []}]}
    state = read_state(trained)
    assert state is not None
    stored = load_file(trained / "model" / WEIGHTS)
    weights = state["networks"]["generator"]
    assert stored.keys() == {f"generator.{name}" for name in weights}
    assert all(torch.equal(stored[f"generator.{name}"], weights[name]) for name in weights)
    model = read_model(trained / "model")
    assert model.domains == Domains((LabelSet(("dark", "light"), "one_hot"),))
    assert list(model.method.networks) == ["generator"]

    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    write_image(tmp_path / "one.png", image)
    assert command("convert", trained, tmp_path / "one.png", tmp_path / "out", "--to", "all").code == 0
    generator = trained_generator(trained).eval()
    for place, domain in enumerate(("dark", "light")):
        with torch.no_grad():
            output = generator(as_batch(image), torch.eye(2)[place : place + 1])
        found = read_image(tmp_path / "out" / domain / "one.png")
        np.testing.assert_array_equal(found, denormalize(output, "uint8", 0, 255)[0].transpose(1, 2, 0))
    assert len(np.unique(found)) > 10


def test_instance_norm_converts_as_it_trained(
    command: Run, tiny_for: Callable[[str], list[str]], tmp_path: Path
) -> None:
    words = [word for word in tiny_for("stargan") if not word.startswith(("generator", "discriminator"))]
    own = ["generator.width=2", "generator.num_blocks=1", "discriminator.width=2", "discriminator.num_layers=2"]
    done = command("train", *words, *own, "steps=2", "method.n_critic=1")
    assert done.code == 0, done.err
    stored = load_file(tmp_path / "run" / "model" / WEIGHTS)
    assert any(name.endswith("running_mean") for name in stored)
    image = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
    found = translate.load(tmp_path / "run", accelerator="cpu")(image, domain="light")
    with torch.no_grad():
        output = trained_generator(tmp_path / "run")(as_batch(image), torch.tensor([[0.0, 1.0]]))
    np.testing.assert_array_equal(found, denormalize(output, "uint8", 0, 255)[0].transpose(1, 2, 0))
    assert len(np.unique(found)) > 10


def test_a_model_of_attributes_carries_the_network_that_sees_them(
    command: Run, tiny_for: Callable[[str], list[str]], tmp_path: Path
) -> None:
    root = tmp_path / "domains"
    words = [word for word in tiny_for("stargan") if not word.startswith("data.root")]
    rows = [
        f"{domain}/image {index}.png,{int(domain == 'light')},{index % 2}"
        for domain in ("dark", "light")
        for index in range(6)
    ]
    (root / "labels.csv").write_text("\n".join(["image,light,odd", *rows]) + "\n")
    done = command("train", *words, f"data.root={root / 'labels.csv'}", "data.kind=attributes", "steps=1")
    assert done.code == 0, done.err
    state = read_state(tmp_path / "run")
    assert state is not None
    stored = load_file(tmp_path / "run" / "model" / WEIGHTS)
    assert stored.keys() == {f"{network}.{name}" for network, found in state["networks"].items() for name in found}
    assert {name.partition(".")[0] for name in stored} == {"generator", "discriminator"}
    model = read_model(tmp_path / "run" / "model")
    assert model.domains == Domains((LabelSet(("light", "odd"), "attributes"),))

    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    found = translate.load(tmp_path / "run", accelerator="cpu")(image, domain="+light -odd")
    with torch.no_grad():
        output = trained_generator(tmp_path / "run").eval()(as_batch(image), torch.tensor([[1.0, 0.0]]))
    np.testing.assert_array_equal(found, denormalize(output, "uint8", 0, 255)[0].transpose(1, 2, 0))


# --- damage ---


DAMAGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "gone": lambda config: config.pop("domains"),
    "null": lambda config: config.update(domains=None),
    "empty": lambda config: config.update(domains={}),
    "a text": lambda config: config.update(domains="dark"),
    "a number": lambda config: config.update(domains=2),
    "a list": lambda config: config.update(domains=["dark", "light"]),
    "no sets": lambda config: config.update(domains={"sets": []}),
    "sets of another kind": lambda config: config.update(domains={"sets": 3}),
    "no set": lambda config: config["domains"].update(sets=["dark"]),
    "no names": lambda config: config["domains"]["sets"][0].pop("names"),
    "names of none": lambda config: config["domains"]["sets"][0].update(names=[]),
    "a set without names": lambda config: config["domains"]["sets"].append(
        {"names": [], "kind": "one_hot", "exclusive": []}
    ),
    "names as text": lambda config: config["domains"]["sets"][0].update(names="ab"),
    "an empty name": lambda config: config["domains"]["sets"][0].update(names=["dark", ""]),
    "names as numbers": lambda config: config["domains"]["sets"][0].update(names=[1, 2]),
    "names as lists": lambda config: config["domains"]["sets"][0].update(names=[["dark"], ["light"]]),
    "a name twice": lambda config: config["domains"]["sets"][0].update(names=["dark", "dark"]),
    "no kind": lambda config: config["domains"]["sets"][0].pop("kind"),
    "another kind": lambda config: config["domains"]["sets"][0].update(kind="two_hot"),
    "a kind of lists": lambda config: config["domains"]["sets"][0].update(kind=["one_hot"]),
    "no groups": lambda config: config["domains"]["sets"][0].pop("exclusive"),
    "a group of strangers": lambda config: config["domains"]["sets"][0].update(exclusive=[["dark", "grey"]]),
    "groups as numbers": lambda config: config["domains"]["sets"][0].update(exclusive=[3]),
}


@pytest.fixture
def folder(model_folder: Callable[..., Path], settings: dict[str, Any]) -> Path:
    """A model folder of two domains with fresh weights."""
    path, known = model_folder(), Domains((LabelSet(("dark", "light"), "one_hot"),))
    changed = settings | {
        "method": {"_target_": "translate.methods.stargan.StarGAN"},
        "generator": {"_target_": "translate.networks.stargan.StarGANGenerator", "_partial_": True, "width": 2},
    }
    method = assemble(changed, source=COLOR, target=COLOR, domains=known)
    tensors = {f"generator.{name}": tensor for name, tensor in method.networks["generator"].state_dict().items()}
    write_model(path, tensors, settings=changed, source=COLOR, target=COLOR, domains=known, steps=1, version="0.1.0")
    return path


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_domains_are_a_user_error_that_names_the_file(folder: Path, damage: str) -> None:
    assert read_model(folder).domains == Domains((LabelSet(("dark", "light"), "one_hot"),))
    edit(folder, DAMAGED[damage])
    with pytest.raises(UserError, match=f"^{re.escape(str(folder / CONFIG))}"):
        read_model(folder)


def test_other_domains_than_the_weights_do_not_fit(folder: Path) -> None:
    edit(folder, lambda config: config["domains"]["sets"][0]["names"].append("grey"))
    with pytest.raises(UserError, match=r"model\.safetensors does not fit .*config\.json"):
        read_model(folder)


def test_domains_in_a_model_that_has_none_are_a_user_error(model_folder: Callable[..., Path]) -> None:
    path = model_folder()
    edit(path, lambda config: config.update(domains=Domains((LabelSet(("a", "b"), "one_hot"),)).as_dict()))
    with pytest.raises(UserError, match=r"model/config\.json.*domains"):
        read_model(path)


def test_a_configuration_of_before_domains_still_loads(model_folder: Callable[..., Path]) -> None:
    path = model_folder()
    edit(path, lambda config: config.pop("domains"))
    model = read_model(path)
    assert model.domains is None
    assert Translator(TorchEngine(model, torch.device("cpu")))(np.zeros((8, 8, 3), np.uint8)).shape == (8, 8, 3)
