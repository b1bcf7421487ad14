"""The page: what is known of a run, in the order in which one asks."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from translate.evaluation.bootstrap import SURE
from translate.evaluation.sets import (
    distance_names,
    distance_text,
    explain_distances,
    limits_text,
    set_label,
    set_title,
)
from translate.report.charts import BOTTOM, LEFT, RIGHT, TOP, Chart, chart_grid, make_chart
from translate.report.facts import Line, Run
from translate.report.markup import Html, element, embedded_json, join, table
from translate.report.pictures import embed, spread
from translate.report.usual import describe_settings, show
from translate.training.symptoms import SYMPTOMS
from translate.training.verdict import Finding

SAMPLES = 30
"""Sample grids at most."""
SAMPLE_BYTES = 7_500_000
PAIR_BYTES = 2_500_000
"""Bytes of all sample grids and of all best and worst images; a page has a third more for the same, as base64."""
COMPARED = (("input", "output"), ("true answer", "output"), ("input", "and back"))
"""What a before/after slider can show: left and right."""
ENDS = {
    "finished": "Finished after {step:,} steps.",
    "stopped": "Stopped at step {step:,} of {total:,}.",
    "broke down": "Broke down at step {step:,} of {total:,}.",
    "failed": "Failed at step {step:,} of {total:,}.",
    "": "No end is on record: at step {step:,} of {total:,} when this page was written. It is still training, or was "
    "killed.",
}


@dataclass
class Page:
    """Sections of a page, and the curves in them."""

    run: Run
    charts: list[Chart] = field(default_factory=list)

    def html(self) -> str:
        """The whole page."""
        run = self.run
        sections = [
            self.key_numbers(),
            self.commands(),
            self.warnings(),
            self.curves(),
            self.samples(),
            *self.evaluations(),
            self.settings(),
            self.lineage(),
            self.data(),
            self.environment(),
        ]
        template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
        data = {"plot": [LEFT, RIGHT, TOP, BOTTOM], "charts": [chart.data for chart in self.charts]}
        return template.substitute(
            title=join(run.folder.name),
            state=join(run.state or "no end on record"),
            verdict=join(verdict(run)),
            sections="\n".join(sections),
            data=embedded_json(data),
        )

    def key_numbers(self) -> Html:
        """What one looks for first."""
        run, numbers = self.run, []
        if run.best is not None and run.metric:
            numbers.append(
                (f"best {run.metric}", f"{run.best['metrics'][run.metric]:.4g}", f"step {run.best['step']:,}")
            )
        values = {row["step"]: row["metrics"][run.metric] for row in run.measured if run.metric in row["metrics"]}
        if values:
            (first, before), (last, value) = next(iter(values.items())), values.popitem()
            since = f", from {before:.4g} at step {first:,}" if first != last else ""
            numbers.append((f"last {run.metric}", f"{value:.4g}", f"step {last:,}{since}"))
        of = f"of {run.total_steps:,}" if run.total_steps else ""
        numbers.append(("steps", f"{run.step:,}", of))
        if run.rows and run.speed is not None:
            numbers.append(("trained", duration(run.seconds), f"{run.rows[-1]['images']:,} images"))
            numbers.append(("speed", f"{run.speed:.3g}", "images per second"))
        if "device" in run.begun:
            numbers.append(("device", str(run.begun["device"]), ""))
        cells = (
            element("div", element("dt", name), element("dd", value, " ", element("small", more)))
            for name, value, more in numbers
        )
        return section("Key numbers", element("dl", *cells, class_="numbers"))

    def commands(self) -> Html:
        """What to type next."""
        lines = (
            element(
                "div",
                element("p", what),
                element("pre", element("code", command), tabindex=0),
                element("button", "copy", type="button", class_="copy", aria_label=f"copy the command to {what}"),
                class_="command",
            )
            for what, command in self.run.commands()
        )
        return section("Go on", *lines)

    def warnings(self) -> Html:
        """What went wrong, and when."""
        lines = [element("li", warning_text(line)) for line in self.run.warnings]
        if self.run.state in ("failed", "broke down") and self.run.ended and self.run.ended.get("why"):
            lines.append(element("li", f"{self.run.state.capitalize()}: {self.run.ended['why']}"))
        return section("Warnings", element("ul", *lines)) if lines else Html("")

    def curves(self) -> Html:
        """Losses, metrics, and how fast it went."""
        run = self.run
        losses = [(row["step"], row["losses"]) for row in run.rows]
        names = list(dict.fromkeys(name for _, row in losses for name in row))
        charts: list[Chart | None] = []
        for player in dict.fromkeys(name.partition("_")[0] for name in names):
            own = {name: name.partition("_")[2] or name for name in names if name.partition("_")[0] == player}
            charts.append(make_chart(f"losses: {player}", losses, own, smoothed=True))
        for name in dict.fromkeys(name for row in run.measured for name in row["metrics"]):
            best = (run.best["step"], run.best["metrics"][name]) if run.best and name in run.best["metrics"] else None
            lines = [(row["step"], _with_interval(row, name)) for row in run.measured]
            shown = {name: name, "low": "95 % from", "high": "to"}
            charts.append(make_chart(f"validation: {name}", lines, shown, best=best))
        rows = [(row["step"], row) for row in run.rows]
        plain = dict.fromkeys(key for row in run.rows for key, value in row.items() if isinstance(value, int | float))
        for name in (key for key in plain if key not in ("step", "images", "epoch")):
            charts.append(make_chart(name.replace("_", " "), rows, {name: name}))
        drawn = [chart for chart in charts if chart is not None]
        if not drawn:
            return section(
                "Curves", element("p", "Nothing was logged." if run.ended else "Nothing has been logged yet.")
            )
        parts = [
            element(
                "p",
                element("label", element("input", type="checkbox", id="log"), " logarithmic"),
                element("label", element("input", type="checkbox", id="raw", checked=True), " each reading of losses"),
                class_="controls",
            ),
            self._grid(drawn),
        ]
        if run.best is not None:
            parts.append(element("p", f"A ring marks the best model, of step {run.best['step']:,}.", class_="note"))
        signs = [(row["step"], row["signs"]) for row in run.rows if "signs" in row]
        keys = sorted({name for _, row in signs for name in row})
        watched = [make_chart(name.replace("_", " "), signs, {name: name}) for name in keys]
        if any(watched):
            grid = self._grid([chart for chart in watched if chart is not None])
            parts.append(element("details", element("summary", "What the warnings are drawn from"), grid))
        return section("Curves", *parts)

    def _grid(self, charts: list[Chart]) -> Html:
        first = len(self.charts)
        self.charts += charts
        return chart_grid(charts, first)

    def samples(self) -> Html:
        """The sample grids, a slider through the steps."""
        chosen = spread(self.run.samples, SAMPLES)
        shown = []
        for step, path in chosen:
            picture = embed(path, SAMPLE_BYTES // max(1, len(chosen)))
            if picture is not None:
                shown.append(
                    element(
                        "figure",
                        element("figcaption", f"step {step:,}"),
                        element(
                            "img",
                            src=picture.uri,
                            width=picture.width,
                            height=picture.height,
                            class_="small" if picture.width < 400 else None,
                            alt=f"sample grid of step {step:,}: a row for each image, titled columns",
                        ),
                        class_="sample",
                    )
                )
        if not shown:
            return Html("")
        left_out = len(self.run.samples) - len(shown)
        also = f" {left_out} more, evenly spread between these, are only there." if left_out else ""
        slider = element(
            "input",
            type="range",
            min=0,
            max=len(shown) - 1,
            value=len(shown) - 1,
            step=1,
            aria_label="step of the samples",
        )
        when = f"The same images at {len(shown)} steps" if len(shown) > 1 else "Images"
        note = f"{when}; the files are in samples/.{also}"
        return section(
            "Samples",
            element("p", note, class_="note"),
            element("p", slider, " ", element("output", ""), class_="steps script", hidden=len(shown) < 2),
            element("div", *shown, class_="samples"),
        )

    def evaluations(self) -> Iterator[Html]:
        """What `translate evaluate` found, with the best and the worst images."""
        told = self.run.evaluations
        count = sum(len(extreme["images"]) for found in told.values() for extreme in found.get("extremes", ()))
        for path, found in sorted(told.items(), key=lambda item: bool(item[1].get("other_data"))):  # its own data first
            most = PAIR_BYTES // max(1, count)
            other = found.get("other_data")
            name = path.stem.removeprefix("evaluation_").removesuffix(f"_{other}").replace("_", ", ")
            name += f", other data: {other}" * bool(other)
            where = "" if path.parent.resolve() == self.run.folder else f", {path.parent.name}/"
            of = f" of the model of step {found['steps']:,}" if found.get("steps") else ""
            parts = [element("p", f"{found.get('images', 0)} images{of}.", class_="note"), *_measures(found)]
            if found.get("measured_on"):
                told_of = ", ".join(f"{key}={show(value)}" for key, value in found["measured_on"].items() if value)
                whose = "other data than the model was trained with" if other else "the run's own data"
                parts.insert(1, element("p", f"Measured on {whose}: {told_of}.", class_="note"))
            titles = {title for extreme in found.get("extremes", ()) for title in extreme["images"]}
            pairs = [pair for pair in COMPARED if titles.issuperset(pair)]
            if len(pairs) > 1:
                parts.append(_choice(f"{path.parent.name} {path.stem}", pairs))
            for kind in ("best", "worst"):
                extremes = [extreme for extreme in found.get("extremes", ()) if extreme["kind"] == kind]
                if extremes:
                    parts.append(element("h3", f"{kind} by {extremes[0]['metric']}"))
                    parts.append(
                        element("div", *(_compared(each, path.parent, most) for each in extremes), class_="pairs")
                    )
            yield section(f"Evaluation: {name}{where}", *parts)

    def settings(self) -> Html:
        """Every setting, those that somebody chose first."""
        changed, others = describe_settings(self.run.tree)
        return section(
            "Settings",
            element("p", "Components, and settings that are not theirs by default:", class_="note"),
            table(("setting", "value", "by default"), [tuple(row) for row in changed]),
            element(
                "details",
                element("summary", f"{len(others)} settings as they are by default"),
                table(("setting", "value"), [tuple(row) for row in others]),
            ),
        )

    def lineage(self) -> Html:
        """What the model was made from."""
        rows = [
            tuple(
                "" if value is None else f"{value}"
                for value in (each.get(key) for key in ("kind", "source", "steps", "sha256"))
            )
            for each in self.run.model.get("lineage", ())
        ]
        if not rows:
            began = (self.run.tree.get("finetune") or {}).get("checkpoint")
            said = f"To go on from {began}." if began else "Trained from the start: from fresh weights."
            return section("Lineage", element("p", said))
        return section("Lineage", table(("", "made from", "steps", "sha256"), rows))

    def data(self) -> Html:
        """The images."""
        run = self.run
        rows = [("root", show(run.tree.get("data", {}).get("root")))]
        rows += [(what, f"{count:,}") for what, count in run.begun.get("images", {}).items()]
        sides = {name: run.model.get(name) for name in ("source", "target")}
        if sides["source"] == sides["target"]:
            sides = {"source and target": sides["source"]}
        for name, side in sides.items():
            if side:
                kind = "label map, " if side.get("labels") else ""
                reach = f"range {side['low']:g} to {side['high']:g}"
                channels = f"{side['channels']} channel{'s' * (side['channels'] > 1)}"
                rows.append((name, f"{kind}{channels}, {side['dtype']}, {reach}"))
        for kept in (run.model.get("domains") or {}).get("sets", ()):
            rows.append(("domains", ", ".join(map(str, kept.get("names", ())))))
        return section("Data", table((), rows))

    def environment(self) -> Html:
        """What it ran on."""
        run = self.run
        keys = ("translate", "torch", "python", "platform", "device")
        rows = [(key, str(run.begun[key])) for key in keys if key in run.begun]
        rows += [(f"parameters of the {name}", f"{count:,}") for name, count in run.begun.get("parameters", {}).items()]
        if not rows:
            rows = [("translate", str(run.model.get("translate_version", "not recorded")))]
        rows += [(str(line["event"]), f"{line['time']}, step {line['step']:,}") for line in run.history]
        rows.append(("folder", str(run.folder)))
        return section("Environment", table((), rows))


def verdict(run: Run) -> str:
    """How the run is, in a sentence or two."""
    said = (run.ended or {}).get("verdict")
    if said:
        return str(said)
    total = run.total_steps or run.step
    parts = [ENDS[run.state].format(step=run.step, total=total)]
    if run.best is not None and run.metric:
        value = run.best["metrics"][run.metric]
        parts.append(f"Validation {run.metric} was best at step {run.best['step']:,}: {value:.4g}.")
    return " ".join(parts)


def warning_text(line: Line) -> str:
    """What was said of a line of warnings.jsonl; its numbers alone where this version knows no such symptom."""
    symptom = next((symptom for symptom in SYMPTOMS if symptom.name == line["name"]), None)
    try:
        if symptom is not None:
            return Finding(line["step"], symptom, line["since"], line["seen"]).text
    except KeyError:
        pass
    seen = ", ".join(f"{name} {value:g}" for name, value in line["seen"].items())
    return f"Warning at step {line['step']:,}: {line['name']}, since step {line['since']:,}: {seen}."


def duration(seconds: float) -> str:
    """1:02:03 hours, 2:03 minutes."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d} h" if hours else f"{minutes}:{seconds:02d} min"


def section(title: str, *children: str) -> Html:
    """A part of the page under its heading."""
    name = title.lower().replace(" ", "-").replace(":", "").replace(",", "").replace("/", "")
    return element("section", element("h2", title, id=name), *children, aria_labelledby=name)


def _measures(found: Line) -> Iterator[Html]:
    unchanged = found.get("input_unchanged") or {}
    rows = []
    for name, row in found["metrics"].items():
        beside = (f"{unchanged[name]:.4f}" if name in unchanged else "-",) if unchanged else ()
        rows.append((name, f"{row['value']:.4f}", limits_text(row["low"], row["high"]), *beside))
    if rows:
        yield table(("", "model", "95 % interval", *(("input unchanged",) if unchanged else ())), rows)
    domains, sets, counts = found.get("domains") or {}, found.get("distances") or {}, found.get("set_counts") or {}
    names = list(dict.fromkeys(key for row in domains.values() for key in row))
    if names:
        every = {**domains, "mean of the domains": found["mean"]} if found.get("mean") else domains
        head = ("domain", *("real images recognized" if name == "real" else name for name in names))
        yield table(head, [(name, *(_domain_number(row, key) for key in names)) for name, row in every.items()])
    for sentence in found.get("judgement", ()):
        yield element("p", sentence, class_="note")
    names = distance_names(sets)
    if names:
        lines = [
            (set_label(name, counts), *(distance_text(row, key) if key in row else "-" for key in names))
            for name, row in sets.items()
        ]
        yield element("h3", set_title(counts, of_domains=bool(domains)))
        yield table(("", *names), lines)
        for sentence in explain_distances(sets, counts):
            yield element("p", sentence, class_="note")
    for note in found.get("notes", ()):
        yield element("p", f"Not measured: {note}.", class_="note")


def _domain_number(row: Mapping[str, float], name: str) -> str:
    if name not in row:
        return "-"
    return f"{row[name]:.1%}" if name in ("recognized", "real") else f"{row[name]:.4g}"


def _choice(name: str, pairs: list[tuple[str, str]]) -> Html:
    """What is drawn over what."""
    buttons = (
        element(
            "label",
            element("input", type="radio", name=name, checked=pair == pairs[0], data_left=pair[0], data_right=pair[1]),
            f" {pair[0]} against {pair[1]}",
        )
        for pair in pairs
    )
    return element("p", *buttons, class_="controls script against")


def _with_interval(measurement: Line, name: str) -> dict[str, float]:
    """A metric of a measurement, and the ends of its 95 % interval: NaN where that is not known."""
    value = measurement["metrics"].get(name, math.nan)
    error = measurement.get("errors", {}).get(name, math.nan)
    return {name: value, "low": value - SURE * error, "high": value + SURE * error}


def _compared(extreme: Line, folder: Path, most: int) -> Html:
    """An image's input, output and, if known, the true answer, to be drawn over one another."""
    name = f"{extreme['name']} to {extreme['group']}" if extreme.get("group") else str(extreme["name"])
    figures = []
    for title, file in extreme["images"].items():
        path = (folder / file).resolve()
        picture = embed(path, most) if path.is_relative_to(folder.resolve()) else None
        if picture is not None:
            small = max(picture.width, picture.height) <= 128
            image = element(
                "img",
                src=picture.uri,
                width=picture.width,
                height=picture.height,
                alt=f"{title} of {name}",
                class_="small" if small else None,
            )
            figures.append(element("figure", element("figcaption", title), image, data_title=title))
    slider = element(
        "input",
        type="range",
        min=0,
        max=100,
        value=50,
        step=1,
        class_="script cut",
        aria_label=f"before and after of {name}",
    )
    return element(
        "div",
        element("p", element("b", name), f" {extreme['metric']} {extreme['value']:.4g}"),
        element("div", *figures, class_="stack"),
        slider,
        class_="pair",
    )
