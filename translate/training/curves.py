"""The curves of a run as one PNG."""

from pathlib import Path

from translate.evaluation.bootstrap import SURE
from translate.files import write_atomically
from translate.training.log import METRICS, VALIDATION, best_measurement, read_metrics

CURVES = "losses.png"


def draw_curves(folder: Path) -> None:
    """Draw what a run logged against the step, one panel per player (the first word of a loss's name) and per metric.

    Metrics are of the validation; a dot marks the best model, a band 95 % intervals of distances between sets.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in read_metrics(folder / METRICS) if row["losses"]]
    measured = read_metrics(folder / VALIDATION)
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row["losses"]))
    players = list(dict.fromkeys(name.partition("_")[0] for name in names))
    metrics = list(dict.fromkeys(name for row in measured for name in row["metrics"]))
    count = max(len(players), len(metrics))
    figure, panels = pyplot.subplots(
        1 + bool(metrics), count, figsize=(6 * count, 4 + 4 * bool(metrics)), squeeze=False, layout="constrained"
    )
    for player, panel in zip(players, panels[0], strict=False):
        for name in (name for name in names if name.partition("_")[0] == player):
            points = [(row["step"], row["losses"][name]) for row in rows if name in row["losses"]]
            marker = "." if len(points) < 3 else None
            panel.plot(*zip(*points, strict=True), label=name.partition("_")[2] or name, linewidth=1.2, marker=marker)
        panel.set(title=player, xlabel="step", ylabel="loss")
        panel.legend()
    best = best_measurement(folder)
    for name, panel in zip(metrics, panels[-1], strict=False):
        rows = [row for row in measured if name in row["metrics"]]  # a run that goes on may know more, or less
        steps, values = [row["step"] for row in rows], [row["metrics"][name] for row in rows]
        panel.plot(steps, values, linewidth=1.2)
        spread = [SURE * row.get("errors", {}).get(name, 0.0) for row in rows]
        if any(spread):
            low, high = ([value + sign * by for value, by in zip(values, spread, strict=True)] for sign in (-1, 1))
            panel.fill_between(steps, low, high, alpha=0.2)
        if best is not None and name in best["metrics"]:
            panel.plot(best["step"], best["metrics"][name], "o", label=f"best model: {best['metrics'][name]:.4g}")
            panel.legend()
        panel.set(title=f"validation: {name}", xlabel="step")
    for panel in panels.flat:
        panel.set_visible(bool(panel.has_data()))
        panel.grid(alpha=0.3)
    write_atomically(folder / CURVES, lambda partial: figure.savefig(partial, dpi=120, format="png"), durable=False)
    pyplot.close(figure)
