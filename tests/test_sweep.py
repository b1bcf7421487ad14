"""Sweeps: which runs there are, what becomes of each, and the table of all."""

import csv
import json
import shlex
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from translate.config import Composed, combine, compose_settings
from translate.errors import DivergenceError, UserError
from translate.model_folder import STATE
from translate.signals import stop_on_signal
from translate.sweeps.plan import name_run, plan, refusals
from translate.sweeps.plot import draw_sweep, mark, mean_curve
from translate.sweeps.report import count_runs, is_near, number_with_spread, print_sweep, tell_others, tell_unequal
from translate.sweeps.run import make_runs
from translate.sweeps.table import Row, read_table, summarize, varied_keys, write_table
from translate.training.checkpoint import Progress
from translate.training.run import Outcome
from translate.training.run_folder import write_config


def row(words, outcome="finished", **numbers):
    return Row(words.replace(" ", ","), words, outcome, {f"best_{name}": value for name, value in numbers.items()})


# --- which runs there are ---


def test_all_combinations_are_made_and_the_last_word_changes_first():
    found = combine(["method=pix2pix", "objective=lsgan,hinge", "seed=range(1,4)"])
    assert [combination.words[1:] for combination in found] == [
        (f"objective={objective}", f"seed={seed}") for objective in ("lsgan", "hinge") for seed in (1, 2, 3)
    ]
    assert {combination.words[0] for combination in found} == {"method=pix2pix"}
    assert found[0].values == {"method": "pix2pix", "objective": "lsgan", "seed": "1"}
    assert found[0].varied == ("objective", "seed")


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("seed=choice(3,5)", ["3", "5"]),
        ("objective=choice(fgan)", ["fgan"]),  # one value that is to be told in the names
        ("optimizer.lr=0.1,1e-3", ["0.1", "0.001"]),
        ("objective=glob(wasserstein*)", ["wasserstein", "wasserstein_clipped"]),
        ("objective=glob([m*,h*],exclude=min*)", ["hinge"]),
        ("data.root='a,b',c", ["a,b", "c"]),
        ("finetune.rates.encoder=0.1,1", ["0.1", "1"]),
        ("data.styles=[regular,color],[regular,fancy]", ["[regular,color]", "[regular,fancy]"]),
    ],
)
def test_values_are_told_in_the_grammar_of_hydra(word, values):
    key = word.partition("=")[0]
    found = combine([word])
    assert [combination.values[key] for combination in found] == values


def test_a_quoted_comma_and_brackets_are_one_value():
    found = combine(["data.root='a,b'", "output=/x/[y](1)", "seed=1,2"])
    assert [combination.varied for combination in found] == [("seed",)] * 2
    assert found[0].values["data.root"] == "a,b"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["seed=1"], "no word has several"),
        (["lr=interval(0,1)"], "values without number"),
        (["seed=glob(*)"], "glob() is for components"),
        (["objective=glob(x*)"], "fits none of began"),
        (["seed=1,2", "steps"], "'steps' is not KEY=VALUE"),
        (["seed=1,2", "--split"], "no option here"),
    ],
)
def test_words_that_are_no_sweep_are_refused(words, part):
    with pytest.raises(UserError) as refused:
        combine(words)
    assert part in str(refused.value)


def test_a_run_is_named_by_what_varies():
    assert name_run({"objective": "lsgan", "seed": "1"}) == "objective=lsgan,seed=1"


def test_a_name_holds_safe_characters_alone_and_stays_apart():
    names = [name_run({"data.root": root}) for root in ("/my photos/a", "/my photos_a", "x" * 400, "a,b=c")]
    assert len(set(names)) == 4
    assert all(len(name) < 200 and not set(name) & set("/ \\'") for name in names)
    assert names[0].startswith("data.root=_my_photos_a-")


def composed_as_demo(words):
    """What matters here of the configuration of `recipe=demo`, without composing it."""
    values = dict(word.split("=", 1) for word in words)
    output = values.get("output", "runs/demo").strip("'")
    root = values.get("data.root", str(Path(output).absolute() / "glyphs")).strip("'")
    return Composed(SimpleNamespace(output=output), {"data": {"root": root}}, ())


def test_a_plan_gives_each_run_its_folder_and_letters_are_drawn_once(tmp_path):
    folder, planned = plan(combine(["recipe=demo", "seed=1,2,1", f"output={tmp_path / 's'}"]), composed_as_demo)
    assert folder == tmp_path / "s"
    assert [run.name for run in planned] == ["seed=1", "seed=2"]
    assert [run.composed.settings.output for run in planned] == [str(folder / "seed=1"), str(folder / "seed=2")]
    assert {run.composed.tree["data"]["root"] for run in planned} == {str(folder / "glyphs")}
    assert planned[1].words == "recipe=demo seed=2"


def test_letters_of_several_sizes_are_drawn_apart():
    folder, planned = plan(combine(["recipe=demo", "image_size=32,64"]), composed_as_demo)
    assert folder == Path("runs/sweep_demo")
    assert len({run.composed.tree["data"]["root"] for run in planned}) == 2


def test_several_output_folders_are_refused():
    with pytest.raises(UserError, match="output= has several values: give one folder"):
        plan(combine(["recipe=demo", "output=a,b"]), composed_as_demo)


def test_a_combination_with_a_mistake_is_refused_by_name():
    with pytest.raises(UserError, match=r"^seed=1 objective=hing: objective=hing is not one of .*did you mean hinge"):
        plan(combine(["data.root=x", "seed=1", "seed=1,2", "objective=hing,lsgan"]), compose_settings)


def test_what_the_method_refuses_is_told_apart_from_mistakes(tiny):
    _, planned = plan(combine([*tiny, "steps=1", "objective=lsgan,ebgan"]), compose_settings)
    refused = refusals(planned)
    assert list(refused) == ["objective=ebgan"]
    assert "discriminator=autoencoder" in refused["objective=ebgan"]
    lsgan = planned[0].composed
    for change, part in (({"steps": 0}, "steps=0 must be more"), ({"devices": 2}, "one device")):
        wrong = replace(lsgan, settings=replace(lsgan.settings, **change))
        with pytest.raises(UserError, match=f"^objective=lsgan: .*{part}"):
            refusals([replace(planned[0], composed=wrong)])
    folder = Path(lsgan.settings.output)
    write_config(folder, lsgan.tree | {"seed": 5})
    (folder / STATE).parent.mkdir()
    (folder / STATE).touch()
    with pytest.raises(UserError, match=r"^objective=lsgan: output=.* holds a run with other settings"):
        refusals(planned)


# --- the table ---


def test_mean_and_spread_are_over_seeds():
    rows = [row(f"objective={name} seed={seed}", l1=value) for name, seed, value in
            (("lsgan", 1, 0.2), ("lsgan", 2, 0.4), ("lsgan", 3, 0.6), ("hinge", 1, 0.3))]  # fmt: skip
    (task,) = summarize(rows)
    assert [summary.values for summary in task.summaries] == [{"objective": "hinge"}, {"objective": "lsgan"}]
    hinge, lsgan = task.summaries
    assert lsgan.mean("l1") == pytest.approx(0.4)
    assert lsgan.spread("l1") == pytest.approx(0.2)  # the square root of (0.04 + 0 + 0.04) / 2
    assert number_with_spread(lsgan, "l1") == "0.4000 ± 0.2000"
    assert hinge.spread("l1") is None
    assert number_with_spread(hinge, "l1") == "0.3000"
    assert task.best("l1") is hinge


def test_the_best_is_the_lowest_or_highest_and_none_where_a_metric_tells_nothing():
    rows = [row("seed=1 objective=lsgan", l1=0.2, ssim=0.5, cycle_source=0.1),
            row("seed=1 objective=hinge", l1=0.3, ssim=0.6, cycle_source=0.2)]  # fmt: skip
    (task,) = summarize(rows)
    assert task.metrics == ("l1", "ssim", "cycle_source")
    assert [task.best(name).label for name in ("l1", "ssim")] == ["objective=lsgan", "objective=hinge"]
    assert task.best("cycle_source") is None


def test_methods_and_data_are_not_compared_with_one_another():
    rows = [row(f"method={method} objective={objective}", l1=value)
            for method, objective, value in (("pix2pix", "lsgan", 0.1), ("pix2pix", "hinge", 0.05),
                                             ("stargan", "lsgan", 0.5), ("stargan", "hinge", 0.9))]  # fmt: skip
    tasks = summarize(rows)
    assert [task.values for task in tasks] == [{"method": "pix2pix"}, {"method": "stargan"}]
    assert [task.best("l1").values["objective"] for task in tasks] == ["hinge", "lsgan"]


def test_failures_are_counted_and_stay_out_of_the_mean():
    rows = [
        row("objective=lsgan seed=1", l1=0.2),
        row("objective=lsgan seed=2", "diverged at step 40: losses became NaN", l1=9.0),
        row("objective=ebgan seed=1", "refused: no energies"),
        row("objective=ebgan seed=2", "refused: no energies"),
    ]
    (task,) = summarize(rows)
    lsgan, ebgan = task.summaries
    assert lsgan.mean("l1") == 0.2
    assert ebgan.mean("l1") is None
    assert count_runs(lsgan) == "1 of 2, diverged at step 40"
    assert count_runs(ebgan) == "0 of 2, refused"
    assert task.best("l1") is None  # nothing to choose from


def test_two_means_are_near_when_their_seeds_scatter_as_much():
    rows = [row(f"objective={name} seed={seed}", l1=value) for name, seed, value in
            (("a", 1, 0.2), ("a", 2, 0.4), ("b", 1, 0.3), ("b", 2, 0.5), ("c", 1, 0.7), ("c", 2, 0.71),
             ("d", 1, 0.31))]  # fmt: skip
    (task,) = summarize(rows)
    first, *others = task.summaries
    near = {other.values["objective"]: is_near(other, first, "l1") for other in others}
    assert near == {"b": True, "c": False, "d": False}  # of one seed no spread is known


def test_metrics_of_a_split_stand_beside_those_of_the_validation():
    tested = Row("a", "seed=1", "finished", {"best_l1": 0.1, "final_l1": 0.3, "test_step": 4, "test_l1": 0.2,
                                             "test_real": 1, "test_input l1": 0.5, "test_kid_error": 1})  # fmt: skip
    assert tested.value("test l1") == 0.2
    assert tested.value("l1") == 0.1
    assert summarize([tested], "test")[0].metrics == ("l1", "test l1")
    assert Row("b", "", numbers={"final_l1": 0.3}).value("l1") == 0.3  # no best was kept


def rows_of(**values):
    """Finished runs by their objective with (validation, test) numbers of a metric: `lsgan={"l1": (0.1, 0.2)}`."""
    return [
        Row(name, f"objective={name}", "finished",
            {f"best_{metric}": pair[0] for metric, pair in found.items()}
            | {f"test_{metric}": pair[1] for metric, pair in found.items()})
        for name, found in values.items()
    ]  # fmt: skip


def test_the_validation_chooses_and_the_test_split_is_told(tmp_path):
    rows = rows_of(lsgan={"l1": (0.1, 0.4)}, hinge={"l1": (0.2, 0.3)})
    (task,) = summarize(rows, "test")
    assert [summary.values["objective"] for summary in task.summaries] == ["lsgan", "hinge"]
    assert [task.best(metric).values["objective"] for metric in task.metrics] == ["lsgan", "hinge"]
    text = printed(rows, 100, tmp_path, "test")
    assert "beside it, but not to choose by, on the test split" in text
    assert "Best validation l1: objective=lsgan (0.1000; test l1: 0.4000)" in text
    assert text.count(" *") == 1  # what is best on the test split is no choice
    assert f"convert {tmp_path / 'lsgan'} " in text


def test_where_the_validation_tells_nothing_the_split_chooses_and_is_said_to(tmp_path):
    rows = rows_of(lsgan={"cycle_source": (0.1, 0.1)}, hinge={"cycle_source": (0.2, 0.2)})
    rows[0].numbers["test_kid"], rows[1].numbers["test_kid"] = 2.0, 1.0
    (task,) = summarize(rows, "test")
    assert task.metrics == ("test kid", "test cycle_source", "cycle_source")
    text = printed(rows, 100, tmp_path, "test")
    assert "chosen by the test split, for nothing on validation images tells which is better" in text
    assert "Best test kid: objective=hinge (1.000)" in text
    assert f"convert {tmp_path / 'hinge'} " in text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((584115.0, 325423.02), "454800 ± 182900"),  # 258692 / 2 ** 0.5
        ((0.03, 0.0362), "0.03310 ± 0.00438"),
        ((0.25,), "0.2500"),
        ((123.456,), "123.5"),
        ((0.0,), "0.0000"),
        ((float("nan"),), "nan"),
    ],
)
def test_numbers_have_four_digits(values, text):
    rows = [row(f"objective=lsgan seed={seed}", l1=value) for seed, value in enumerate(values)]
    assert number_with_spread(summarize(rows)[0].summaries[0], "l1") == text


def test_only_what_differs_varies():
    rows = [
        row("method=a seed=1 steps=5"),
        row("method=a seed=2 steps=5"),
        row("method=a seed=1 discriminator=x steps=5"),
    ]
    assert varied_keys(rows) == ["seed", "discriminator"]


def test_the_table_is_read_as_it_was_written_without_runs_that_are_gone(tmp_path):
    rows = [
        Row("seed=1", "objective=fgan seed=1", "finished", {"step": 40, "minutes": 0.5, "best_l1": 0.25}),
        Row("seed=2", "objective=fgan seed=2", 'refused: never, "begun"\nat all'),
        Row("seed=3", "objective=fgan seed=3", "finished", {"step": 40}),
    ]
    (tmp_path / "seed=1").mkdir()
    write_table(tmp_path, rows)
    assert read_table(tmp_path) == rows[:2]
    with (tmp_path / "sweep.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["seed"], first["step"], first["best_l1"]) == ("1", "40", "0.250000")
    (tmp_path / "sweep.csv").write_text("something,else\n1,2\n")
    with pytest.raises(UserError, match=r"sweep\.csv is no table of a sweep any more"):
        read_table(tmp_path)


# --- on a terminal ---


def printed(rows, width, tmp_path, split=None):
    console = Console(width=width, record=True, file=(tmp_path / "terminal").open("w"))
    print_sweep(console, tmp_path, rows, split)
    console.file.close()
    return console.export_text()


@pytest.mark.parametrize("width", [60, 80])
def test_neither_names_nor_numbers_are_cut_however_narrow_the_terminal(width, tmp_path):
    names = ("wasserstein_clipped", "relativistic_average_of_a_name_without_end_that_no_terminal_shows_in_a_line")
    metrics = ("cycle_source", "cycle_target", "recognized_as_target", "frechet_distance")
    rows = [
        row(f"objective={name} generator.width={size} seed={seed}", **dict.fromkeys(metrics, 123.456 * seed + place))
        for place, name in enumerate(names)
        for size in (16, 128)
        for seed in (1, 2)
    ]
    rows.append(row("objective=hinge generator.width=16 seed=1", "diverged at step 40: losses became NaN"))
    lines = printed(rows, width, tmp_path).splitlines()
    cells = [[cell.strip() for cell in line[1:-1].split("│")] for line in lines if line.startswith("│")]
    text = "".join(cell[0].replace(" ", "") for cell in cells)
    heads = [cell.strip() for line in lines if line.startswith("┃") for cell in line[1:-1].split("┃")]
    tables = sum(line.startswith("┏") for line in lines)
    for name in names:
        for size in (16, 128):
            assert text.count(f"{name}generator.width={size}") == tables > 1
    assert [heads.count(name) for name in (*metrics, "runs", "minutes", "objective", "generator.width")] == [
        *[1] * 6,
        *[tables] * 2,
    ]
    numbers = [cell for line in cells for cell in line[1:] if "±" in cell]
    for number in ("185.2 ± 87.3", "186.2 ± 87.3"):  # (123.456 + 246.912) / 2, and 123.456 / 2 ** 0.5
        assert sum(found.removesuffix(" *") == number for found in numbers) == 2 * len(metrics)
    assert "diverged" in " ".join(cell for line in cells for cell in line)
    assert "…" not in "".join(lines)


def test_what_fits_is_one_table(tmp_path):
    rows = [row(f"objective={name} seed={seed}", l1=0.1 * seed) for name in ("hinge", "lsgan") for seed in (1, 2)]
    text = printed(rows, 80, tmp_path)
    assert text.count("┏") == 1
    assert "│ hinge     │ 2    │ 0.1500 ± 0.0707 * │         │" in text


def test_unequal_numbers_of_seeds_are_told():
    counts = {"lsgan": 3, "hinge": 2, "fgan": 1}
    rows = [row(f"objective={name} seed={seed}", l1=0.1) for name in counts for seed in range(counts[name])]
    rows += [row("objective=fgan seed=1", "waiting"), row("objective=ebgan seed=1", "refused: no energies")]
    (task,) = summarize(rows)
    told = "hinge has 2 of 3 seeds, fgan has 1 of 3 seeds: the means and spreads are of unequal numbers."
    assert tell_unequal(task) == told
    assert tell_unequal(summarize(rows[:3])[0]) is None
    marks = {mark(summary, task) for summary in task.summaries}
    assert marks == {"lsgan", "hinge", "fgan  (1 of 2 waiting)", "ebgan  (refused)"}


def test_what_another_command_left_is_named_with_the_words_that_make_it(tmp_path):
    words = ["recipe=demo", "data.root=/my photos/a,b", "objective=choice(hinge)", "seed=1,2,3"]
    _, planned = plan(combine([*words, f"output={tmp_path}"]), composed_as_demo)
    rows = [Row(run.name, run.words) for run in planned]
    rows[0].outcome, rows[1].outcome, rows[5].outcome = "finished", "stopped at step 4", "refused: never"
    lines = tell_others(rows, {planned[3].name}, tmp_path, ["--evaluate", "test"])
    assert lines[1] == f"  {planned[1].name} (stopped at step 4)"
    commands = [shlex.split(line) for line in lines if line.startswith("    ")]
    assert [command[:5] for command in commands] == [["translate", "train", "-m", "--evaluate", "test"]] * 2
    made = [run.name for command in commands for run in plan(combine(command[5:]), composed_as_demo)[1]]
    assert made == [planned[place].name for place in (1, 2, 4)]
    assert plan(combine(commands[0][5:]), composed_as_demo)[0] == tmp_path
    assert tell_others(rows, {run.name for run in planned}, tmp_path) == []


# --- what becomes of each ---


class Trainer:
    """Stands in for the training: says what it is told by seed, and leaves a validation behind."""

    def __init__(self, **ends):
        self.ends, self.made = ends, []

    def __call__(self, run):
        self.made.append(run.name)
        folder = Path(run.composed.settings.output)
        folder.mkdir(parents=True, exist_ok=True)
        lines = [{"step": step, "is_best": step == 2, "metrics": {"l1": 0.1 * step}} for step in (2, 4)]
        (folder / "validation.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        end = self.ends.get(run.name.partition("=")[2], Outcome(folder, 4, 4, None))
        if isinstance(end, Exception):
            raise end
        return end


@pytest.fixture
def swept(tmp_path, monkeypatch):
    """Make the runs of three seeds; `more` words win."""
    drawn = []
    monkeypatch.setattr("translate.sweeps.run.draw_sweep", lambda folder, tasks: drawn.append(tasks))

    def make(trainer, *more, refused=None, **options):
        combinations = combine(["recipe=demo", "seed=1,2,3", f"output={tmp_path / 'sweep'}", *more])
        folder, planned = plan(combinations, composed_as_demo)
        options = {"say": lambda message: None} | options
        stopped = make_runs(folder, planned, refused or {}, make=trainer, **options)
        assert drawn  # whatever came of them
        return stopped, {found.name: found for found in read_table(folder)}

    return make


def test_failed_runs_are_rows_and_the_others_are_made(swept):
    trainer = Trainer(**{"1": DivergenceError("losses became NaN", step=3), "2": UserError("out of memory")})
    stopped, rows = swept(trainer)
    assert stopped is None
    assert {name: found.outcome for name, found in rows.items()} == {
        "seed=1": "diverged at step 3: losses became NaN",
        "seed=2": "failed: out of memory",
        "seed=3": "finished",
    }
    assert rows["seed=3"].numbers == {"step": 4, "best_step": 2, "best_l1": 0.2, "final_l1": 0.4}


def test_a_stopped_sweep_goes_on_where_it_was(swept, tmp_path):
    folder = tmp_path / "sweep" / "seed=2"
    trainer = Trainer(**{"2": Outcome(folder, 2, 4, signal.SIGTERM)})
    stopped, rows = swept(trainer)
    assert stopped is signal.SIGTERM
    assert trainer.made == ["seed=1", "seed=2"]
    assert [rows[name].outcome for name in rows] == ["finished", "stopped at step 2", "waiting"]
    again = Trainer()
    stopped, rows = swept(again)
    assert stopped is None
    assert again.made == ["seed=1", "seed=2", "seed=3"]  # a training that is finished returns at once
    assert {found.outcome for found in rows.values()} == {"finished"}


def test_a_signal_in_the_last_step_of_a_run_stops_the_sweep_too(swept, tmp_path):
    folder = tmp_path / "sweep" / "seed=1"
    trainer = Trainer(**{"1": Outcome(folder, 4, 4, signal.SIGINT)})
    stopped, rows = swept(trainer)
    assert stopped is signal.SIGINT
    assert rows["seed=1"].outcome == "finished"
    assert trainer.made == ["seed=1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_run_starts_ends_the_sweep_at_once(swept, number):
    handler = signal.getsignal(number)
    trainer = Trainer()

    def make(run):
        if run.name == "seed=2":
            signal.raise_signal(number)
        return trainer(run)

    stopped, rows = swept(make)
    assert stopped is number
    assert trainer.made == ["seed=1"]
    assert [rows[name].outcome for name in rows] == ["finished", "waiting", "waiting"]
    assert signal.getsignal(number) is handler


def test_a_signal_between_runs_ends_the_sweep(swept):
    trainer = Trainer()
    stopped, rows = swept(trainer, say=lambda line: line.endswith("seed=1: finished") and signal.raise_signal(15))
    assert stopped is signal.SIGTERM
    assert trainer.made == ["seed=1"]
    assert rows["seed=1"].outcome == "finished"


def test_a_signal_before_a_run_breaks_down_ends_the_sweep_after_it(swept):
    def make(run):
        Trainer()(run)
        with stop_on_signal():
            signal.raise_signal(signal.SIGTERM)
            raise DivergenceError("NaN", step=3)

    stopped, rows = swept(make)
    assert stopped is signal.SIGTERM
    assert [rows[name].outcome for name in rows] == ["diverged at step 3: NaN", "waiting", "waiting"]


def test_a_second_signal_leaves_a_training_and_tells_what_it_saved(swept, monkeypatch):
    monkeypatch.setattr("translate.sweeps.run.read_progress", lambda folder: Progress(2, 4, (4, None)))

    def make(run):
        Trainer()(run)
        (Path(run.composed.settings.output) / "metrics.jsonl").touch()
        with stop_on_signal():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("not left")

    stopped, rows = swept(make)
    assert stopped is signal.SIGTERM
    assert [rows[name].outcome for name in rows] == ["stopped at step 2", "waiting", "waiting"]
    assert rows["seed=1"].numbers["best_l1"] == 0.2


def test_what_diverged_is_not_tried_again_unless_its_words_change(swept):
    swept(Trainer(**{"2": DivergenceError("NaN", step=3)}))
    again, other = Trainer(), Trainer()
    _, rows = swept(again)
    assert again.made == ["seed=1", "seed=3"]
    assert rows["seed=2"].outcome == "diverged at step 3: NaN"
    _, rows = swept(other, "precision=64")
    assert other.made == ["seed=1", "seed=2", "seed=3"]
    assert rows["seed=2"].outcome == "finished"


def test_rows_of_another_command_stay_and_what_varies_now_is_a_column(swept):
    swept(Trainer())
    _, rows = swept(Trainer(), "objective=lsgan,ebgan", "seed=1", refused={"objective=ebgan": "no energies"})
    assert [(name, found.outcome.partition(":")[0]) for name, found in rows.items()] == [
        *((f"seed={seed}", "finished") for seed in (1, 2, 3)),
        ("objective=lsgan", "finished"),
        ("objective=ebgan", "refused"),
    ]
    assert rows["objective=ebgan"].outcome == "refused: no energies"
    assert varied_keys(rows.values()) == ["seed", "objective"]
    _, rows = swept(Trainer(), "objective=lsgan,ebgan", "seed=1")
    assert rows["objective=ebgan"].outcome == "finished"  # what is no longer refused is made


def test_a_split_is_measured_once_and_what_cannot_be_is_told(swept):
    measured = []

    def measure(run):
        measured.append(run.name)
        if run.name == "seed=2":
            raise UserError("no true answers")
        return {"l1": 0.5, "input l1": 0.9}

    for _ in range(2):
        _, rows = swept(Trainer(), split="test", measure=measure)
    assert measured == ["seed=1", "seed=2", "seed=3", "seed=2"]
    assert rows["seed=1"].numbers["test_l1"] == 0.5
    assert "test_l1" not in rows["seed=2"].numbers
    assert rows["seed=2"].outcome == "finished"


def test_when_every_run_is_refused_nothing_is_made(swept, tmp_path):
    with pytest.raises(UserError, match=r"every run is refused:\n  seed=1: no energies\n  seed=2: "):
        swept(Trainer(), refused={f"seed={seed}": "no energies" for seed in (1, 2, 3)})
    assert not (tmp_path / "sweep").exists()


def test_curves_are_averaged_where_all_have_a_value():
    assert mean_curve([{2: 1.0, 4: 3.0}, {2: 2.0}]) == [(2, 1.5, pytest.approx(0.5**0.5))]
    assert mean_curve([{2: 1.0}]) == [(2, 1.0, 0.0)]
    assert mean_curve([]) == []


def test_nothing_is_drawn_of_nothing(tmp_path):
    draw_sweep(tmp_path, summarize([row("seed=1", "waiting"), row("seed=2", "waiting")]))
    assert not list(tmp_path.iterdir())


# --- on the command line ---


def test_a_run_of_a_sweep_ends_in_the_weights_of_the_same_run_alone(command, tiny, tmp_path):
    folder = tmp_path / "sweep"
    words = [*tiny, "steps=3", "save_every=1", "sample_every=9"]
    swept = command("train", "-m", *words, "seed=1,2", f"output={folder}", "--evaluate", "test")
    assert swept.code == 0, swept.err
    assert "2 runs: 2 finished" in swept.out
    assert (folder / "seed=1" / "evaluation_test.csv").is_file()
    assert (folder / "sweep.png").stat().st_size > 5000
    rows = {found.name: found for found in read_table(folder)}
    assert {"best_l1", "final_ssim", "test_psnr", "minutes"} <= rows["seed=2"].numbers.keys()
    assert command("train", *words, "seed=2", f"output={tmp_path / 'alone'}").code == 0
    weights = [path / "model" / "model.safetensors" for path in (folder / "seed=2", tmp_path / "alone")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    before = (folder / "seed=1" / STATE).stat().st_mtime_ns
    assert command("train", "-m", *words, "seed=1,2", f"output={folder}", "--evaluate", "test").code == 0
    assert (folder / "seed=1" / STATE).stat().st_mtime_ns == before
    assert {found.name: found for found in read_table(folder)} == rows


@pytest.mark.parametrize(("where", "table"), [("run.train", True), ("plan.check_networks", False)])
def test_a_sweep_that_a_signal_ends_says_so(command, tiny, monkeypatch, where, table):
    def interrupt(*arguments, **options):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(f"translate.sweeps.{where}", interrupt)
    swept = command("train", "-m", *tiny, "steps=1", "seed=1,2")
    assert swept.code == 128 + signal.SIGTERM
    assert swept.out.endswith("Stopped before the end. The same command continues.\n")
    assert ("2 runs: 2 waiting." in swept.out) is table


def test_the_option_goes_with_a_sweep_alone(command, tiny):
    refused = command("train", *tiny, "--evaluate", "test")
    assert refused.code == 2
    assert "--evaluate test goes with -m" in refused.err
    several = command("train", *tiny, "seed=1,2")
    assert "translate train -m trains with each of them" in several.err
