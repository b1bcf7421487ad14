"""Every objective with every method at one small budget: python tools/compare_objectives.py [--folder FOLDER]

Sweeps of `recipe=compare_objectives` on drawn letters, all into FOLDER, and their test L1 and SSIM as a Markdown table.
Runs that FOLDER holds already are not repeated; an interrupted comparison goes on. About 55 minutes of one CPU core.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from translate.sweeps.report import count_runs, number_with_spread
from translate.sweeps.table import read_table, summarize

PLAIN = "nonsaturating,minimax,lsgan,hinge,wasserstein,wasserstein_clipped"
DIVERGENCES = (
    "total_variation,kullback_leibler,reverse_kullback_leibler,pearson,neyman,squared_hellinger,jeffrey,"
    "jensen_shannon,gan"
)
SWEEPS = (
    f"objective={PLAIN}",
    "objective=ebgan,began discriminator=autoencoder",
    f"objective=fgan objective.divergence={DIVERGENCES}",
    "objective=fgan objective.divergence=choice(jensen_shannon_weighted) objective.pi=0.3",
    "objective=fgan objective.divergence=choice(alpha) objective.alpha=0.5",
)
"""What the words of a sweep cannot say at once: some objectives need a word that others refuse."""
METHODS = "pix2pix,cyclegan,stargan"
METRICS = ("l1", "ssim")
NAMING = ("objective", "objective.divergence")


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/sweep_compare_objectives"), help="where runs are kept"
    )
    parser.add_argument("words", nargs="*", help="further words of every sweep: seed=1,2,3")
    asked = parser.parse_args()
    for words in SWEEPS:
        usual = ["recipe=compare_objectives", f"method={METHODS}", f"output={asked.folder}", "--evaluate", "test"]
        command = [sys.executable, "-m", "translate", "train", "-m", *usual, *words.split(), *asked.words]
        ended = subprocess.run(command).returncode
        if ended > 1:  # 1: some runs have failed, which the table tells
            raise SystemExit(ended)
    print_comparison(asked.folder)


def print_comparison(folder: Path) -> None:
    """A row per objective in Markdown, with the test metrics of each method; the best of a column is bold."""
    tasks = summarize(read_table(folder), "test")
    heads = [f"{task.values.get('method', '')} {metric}" for task in tasks for metric in METRICS]
    cells: dict[str, dict[str, str]] = {}
    for task in tasks:
        for summary in task.summaries:
            name = " ".join(summary.values[key] for key in NAMING if key in summary.values)
            for metric in METRICS:
                text = number_with_spread(summary, metric) or count_runs(summary)
                is_best = task.best(metric) is summary
                cells.setdefault(name, {})[f"{task.values.get('method', '')} {metric}"] = (
                    f"**{text}**" if is_best else text
                )
    print(f"| objective | {' | '.join(heads)} |")
    print(f"|---|{'---|' * len(heads)}")
    for name, row in cells.items():
        print(f"| `{name}` | {' | '.join(row.get(head, '') for head in heads)} |")


if __name__ == "__main__":
    main()
