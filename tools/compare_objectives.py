"""Every objective with every method at one small budget: python tools/compare_objectives.py [--stabilizers]

Sweeps of `recipe=compare_objectives` on drawn letters, all into one folder, and their test L1 and SSIM as a Markdown
table; with --stabilizers, what steadies the game one by one, in half the steps. Runs that the folder holds already are
not repeated; an interrupted comparison goes on. About 55 and 40 minutes of one CPU core.
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
OBJECTIVES = (
    f"objective={PLAIN}",
    "objective=ebgan,began discriminator=autoencoder",
    f"objective=fgan objective.divergence={DIVERGENCES}",
    "objective=fgan objective.divergence=choice(jensen_shannon_weighted) objective.pi=0.3",
    "objective=fgan objective.divergence=choice(alpha) objective.alpha=0.5",
)
"""What the words of a sweep cannot say at once: some objectives need a word that others refuse."""
STABILIZERS = (
    "gradient_penalty=none,r1,r2,zero_centered,one_sided,two_sided,dragan",
    "gradient_penalty=r1 gradient_penalty.every=choice(16)",
    "discriminator.spectral_norm=choice(true)",
    "generator.spectral_norm=choice(true)",
    "generator.equalized=choice(true)",
    "generator.norm=choice(pixel)",
    "generator.attention=choice(true)",
    "discriminator.attention=choice(true) method=pix2pix,cyclegan",
    "discriminator.minibatch_stddev=choice(true) method=pix2pix,cyclegan",
    "discriminator=choice(multiscale) discriminator.num_scales=2 discriminator.num_layers=2",
    "discriminator_augmentation=diffaugment,ada",
    "stabilizers.label_smoothing=choice(0.1)",
    "stabilizers.label_flipping=choice(0.05)",
    "stabilizers.instance_noise=choice(0.1)",
    "stabilizers.orthogonal_weight=choice(0.0001)",
    "generator.initialization=choice(orthogonal) generator.gain=1",
    "discriminator_rate=choice(4)",
    "updates=choice(simultaneous)",
    "method.n_critic=choice(3)",
    "gradient_clip=choice(1)",
    "average_decay=choice(0.98)",
    "method.feature_matching_weight=choice(10) method=pix2pix",
    "generator.latent=choice(8) method=pix2pix",
)
"""One by one with objective=nonsaturating; the first is none of them."""
METHODS = "pix2pix,cyclegan,stargan"
METRICS = ("l1", "ssim")


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stabilizers", action="store_true", help="compare what steadies the game instead")
    parser.add_argument("--folder", type=Path, help="where runs are kept; default: a folder in runs")
    parser.add_argument("words", nargs="*", help="further words of every sweep: seed=1,2,3")
    asked = parser.parse_args()
    folder = asked.folder or Path("runs/sweep_stabilizers" if asked.stabilizers else "runs/sweep_objectives")
    further = ["objective=nonsaturating", "steps=200"] if asked.stabilizers else []
    for words in STABILIZERS if asked.stabilizers else OBJECTIVES:
        methods = [] if "method=" in words else [f"method={METHODS}"]
        usual = ["recipe=compare_objectives", *methods, f"output={folder}", "--evaluate", "test", *further]
        command = [sys.executable, "-m", "translate", "train", "-m", *usual, *words.split(), *asked.words]
        ended = subprocess.run(command).returncode
        if ended > 1:  # 1: some runs have failed, which the table tells
            raise SystemExit(ended)
    print_comparison(folder)


def print_comparison(folder: Path) -> None:
    """A row per objective in Markdown, with the test metrics of each method; the best of a column is bold."""
    tasks = summarize(read_table(folder), "test")
    heads = [f"{task.values.get('method', '')} {metric}" for task in tasks for metric in METRICS]
    cells: dict[str, dict[str, str]] = {}
    for task in tasks:
        for summary in task.summaries:
            name = " ".join(f"{key}={value}" for key, value in summary.values.items() if key not in task.values)
            for metric in METRICS:
                text = number_with_spread(summary, f"test {metric}") or count_runs(summary)
                is_best = task.best(f"test {metric}") is summary
                cells.setdefault(name, {})[f"{task.values.get('method', '')} {metric}"] = (
                    f"**{text}**" if is_best else text
                )
    print(f"| | {' | '.join(heads)} |")
    print(f"|---|{'---|' * len(heads)}")
    for name, row in cells.items():
        print(f"| `{name}` | {' | '.join(row.get(head, '') for head in heads)} |")


if __name__ == "__main__":
    main()
