"""The loss curves of a run as one PNG."""

from pathlib import Path

from translate.files import write_atomically
from translate.training.log import read_metrics


def draw_curves(metrics: Path, picture: Path) -> None:
    """Draw every loss in `metrics` against the step, one panel per player (the first word of a loss's name)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in read_metrics(metrics) if row["losses"]]
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row["losses"]))
    players = list(dict.fromkeys(name.partition("_")[0] for name in names))
    figure, panels = pyplot.subplots(
        1, len(players), figsize=(6 * len(players), 4), squeeze=False, layout="constrained"
    )
    for player, panel in zip(players, panels[0], strict=True):
        for name in (name for name in names if name.partition("_")[0] == player):
            points = [(row["step"], row["losses"][name]) for row in rows if name in row["losses"]]
            panel.plot(*zip(*points, strict=True), label=name.partition("_")[2] or name, linewidth=1.2)
        panel.set(title=player, xlabel="step", ylabel="loss")
        panel.grid(alpha=0.3)
        panel.legend()
    write_atomically(picture, lambda partial: figure.savefig(partial, dpi=120, format="png"), durable=False)
    pyplot.close(figure)
