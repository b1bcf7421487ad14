"""Time `translate convert` on a folder: python tools/benchmark_conversion.py [--network NAME] [--backend NAME] ...

`--part speed` (the default) converts drawn JPEGs, or those of --images, to PNG, with a network of random weights.
Compared are `translate convert` and the plain loop that people write: open with PIL, torchvision's transforms, the
same network in eager PyTorch, one image after the other, save with PIL. Each is a process of its own, from its start
to its end; they take turns, so that a noisy machine hits them alike. Reported are medians over the repeats, also of the
ratios, and each one's peak memory. Both get the same number of threads, 1 unless --threads says more.

`--part memory` converts --count small images with a tiny network, and draws the memory of the process and the images
done over time into memory.png; then it runs the same command again, which has nothing left to do, and times that.

    python tools/benchmark_conversion.py --network resnet_9blocks --size 256 --count 60 --backend openvino
    python tools/benchmark_conversion.py --network tiny --count 2000
    python tools/benchmark_conversion.py --part memory --count 100000 --size 32 --keep FOLDER
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from benchmark import hardware
from rich.console import Console
from rich.table import Table

import translate
from translate.build import TRUSTED
from translate.cli import fail
from translate.config import compose_settings
from translate.data.image import list_images, write_image
from translate.errors import UserError
from translate.model import assemble, read_model, write_model
from translate.pixels import Side
from translate.training.prepare import settings_tree

SIDE = Side(3, "uint8", 0, 255)
TINY = """
import torch
from torch import nn


class Tiny(nn.Module):
    def __init__(self, *, in_channels, out_channels, num_domains=0):
        super().__init__()
        self.mix = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, source):
        return torch.tanh(self.mix(source))
"""
"""A network that takes far less time than reading and writing images does: it mixes colours."""
DRAWN = 64
"""Different images; further ones are copies."""
PER_FOLDER = 1000
PLAIN_LOOP = """
import sys
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from torchvision import transforms

network, source, target = sys.argv[1:]
network = torch.load(network, weights_only=False).eval()
transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
for path in sorted(Path(source).rglob("*")):
    if path.is_dir():
        continue
    image = Image.open(path).convert("RGB")
    with torch.no_grad():
        output = network(transform(image)[None])[0]
    pixels = (output.numpy().transpose(1, 2, 0) + 1) / 2 * 255
    result = (Path(target) / path.relative_to(source)).with_suffix(".png")
    result.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(result)
"""


@dataclass(frozen=True)
class Run:
    """What one process took: seconds by the wall clock and by the CPU's, MiB at most."""

    wall: float
    cpu: float
    peak: float


@dataclass(frozen=True)
class Sample:
    """The memory of a process in MiB and the images it has written, so many seconds after its start."""

    seconds: float
    memory: float
    done: int


def measure(
    command: list[str], threads: int, watch: Path | None = None, own: Path | None = None
) -> tuple[Run, list[Sample]]:
    """Run a command to its end and look at its memory ten times a second, and at what it wrote to the folder `watch`.

    It finds Python modules in the folder `own`.

    The peak is read from /proc: what the system reports of a child at its end is at least the parent's own memory.

    Raises:
        UserError: it failed.
    """
    paths = [str(own or ""), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    samples: list[Sample] = []
    peak = 0.0
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        counts: dict[str, int] = {}
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            now, highest = _memory(process.pid)
            peak = max(peak, highest)
            if watch is not None and now:
                samples.append(Sample(time.perf_counter() - started, now, _count(watch, counts)))
            time.sleep(0.1)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise UserError(f"{' '.join(command[:5])} ... ended with {process.returncode}:\n{output.read()[-2000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, peak), samples


def _memory(process: int) -> tuple[float, float]:
    """Resident MiB of a process now and at most; zeros once it is about to end."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    values = {key: value for key, _, value in (line.partition(":") for line in lines)}
    now, highest = (int(values.get(key, "0 kB").split()[0]) / 2**10 for key in ("VmRSS", "VmHWM"))
    return now, highest


def _count(folder: Path, counts: dict[str, int]) -> int:
    """Images in the folders of `folder`; those known to be full are not read again."""
    for name in os.listdir(folder) if folder.is_dir() else []:
        if counts.get(name, 0) < PER_FOLDER and (folder / name).is_dir():
            counts[name] = sum(each.endswith(".png") for each in os.listdir(folder / name))
    return sum(counts.values())


def draw_images(folder: Path, count: int, size: int) -> None:
    """JPEGs that compress like photos: smooth colours, shapes and a little grain; 1000 to a folder."""
    for first in range(0, count, PER_FOLDER):
        place(folder, first).parent.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(min(count, DRAWN)):
        image = np.full((size, size, 3), 128, np.float32)
        for cells, strength in ((4, 90), (16, 40), (size // 4, 20), (size, 6)):
            noise = generator.uniform(-strength, strength, (cells, cells, 3)).astype(np.float32)
            image += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
        for _ in range(6):
            x, y, width, height = generator.integers(1, (size, size, size // 4 + 2, size // 4 + 2)).tolist()
            cv2.ellipse(image, (x, y), (width, height), 0, 0, 360, generator.uniform(40, 215, 3).tolist(), -1)
        write_image(place(folder, number), image.clip(0, 255).astype(np.uint8), quality=90)
    for number in range(DRAWN, count):
        shutil.copyfile(place(folder, number % DRAWN), place(folder, number))


def place(folder: Path, number: int) -> Path:
    """Where the image of a number lies."""
    return folder / f"{number // PER_FOLDER:04d}" / f"{number:07d}.jpg"


def make_model(folder: Path, network: str, backend: str) -> Path:
    """Write a model of random weights for `translate convert`, and network.pt for the plain loop; return the first.

    Raises:
        UserError: the network does not exist.
    """
    own, trusted = own_folder(folder), ("tiny.Tiny",)
    settings = compose_settings(["method=pix2pix", "data=glyphs", f"generator={network}"], own).settings
    torch.manual_seed(0)
    method = assemble(settings_tree(settings), source=SIDE, target=SIDE, domains=None, allowed=(*TRUSTED, *trusted))
    tree: dict[str, Any] = settings_tree(settings)
    tree |= {"image_size": settings.image_size, "seed": 0, "data": {"direction": "AtoB"}}
    tree |= {"norm_at_test": settings.norm_at_test, "dropout_at_test": settings.dropout_at_test}
    tensors = {name: tensor for name, tensor in method.state_dict().items() if name.startswith("generator.")}
    about: dict[str, Any] = {"source": SIDE, "target": SIDE, "domains": None, "version": translate.__version__}
    write_model(folder / "model", tensors, settings=tree, steps=0, **about)
    model = read_model(folder / "model", trusted=trusted)
    torch.save(model.method.generator, folder / "network.pt")
    if backend == "torch":
        return folder / "model"
    from translate.conversion.onnx_export import export_onnx

    export_onnx(model, folder / "model.onnx")
    return folder / "model.onnx"


def own_folder(folder: Path) -> Path:
    """A folder with a network of one's own, called tiny, as `--config-dir` takes it."""
    own = folder / "own"
    (own / "generator").mkdir(parents=True, exist_ok=True)
    (own / "generator" / "tiny.yaml").write_text("_target_: tiny.Tiny\n_partial_: true\n", encoding="utf-8")
    (own / "tiny.py").write_text(TINY, encoding="utf-8")
    if str(own) not in sys.path:
        sys.path.insert(0, str(own))
    return own


def convert_command(folder: Path, model: Path, images: Path, output: Path, backend: str) -> list[str]:
    """Our side."""
    start = [sys.executable, "-m", "translate", "convert", str(model), str(images), str(output)]
    start += ["--config-dir", str(folder / "own")]
    return [*start, "--format", "png", "--accelerator", "cpu", *([] if backend == "torch" else ["--backend", backend])]


def time_speed(options: argparse.Namespace, folder: Path, images: Path) -> dict[str, Any]:
    """Both sides in turns; the first turn warms the system's file cache up and is not counted."""
    model = make_model(folder, options.network, options.backend)
    count = len(list_images(images))
    runs: dict[str, list[Run]] = {"ours": [], "plain loop": []}
    for repeat in range(1 + options.repeats):
        for side, taken in runs.items():
            output = folder / side.replace(" ", "_")
            shutil.rmtree(output, ignore_errors=True)
            command = [sys.executable, "-c", PLAIN_LOOP, str(folder / "network.pt"), str(images), str(output)]
            if side == "ours":
                command = convert_command(folder, model, images, output, options.backend)
            run, _ = measure(command, options.threads, own=folder / "own")
            if repeat:
                taken.append(run)
    result: dict[str, Any] = {"images": count, "largest_difference": largest_difference(folder, images)}
    for side, taken in runs.items():
        pairs = list(zip(runs["plain loop"], taken, strict=True))
        result[side] = {
            "repeats": [vars(run) for run in taken],
            "wall": statistics.median(run.wall for run in taken),
            "cpu": statistics.median(run.cpu for run in taken),
            "peak": statistics.median(run.peak for run in taken),
            "wall_ratio": statistics.median(plain.wall / run.wall for plain, run in pairs),
            "cpu_ratio": statistics.median(plain.cpu / run.cpu for plain, run in pairs),
            "peak_ratio": statistics.median(plain.peak / run.peak for plain, run in pairs),
        }
    return result


def largest_difference(folder: Path, images: Path) -> int:
    """Between the pixels of both sides; 1 comes from the plain loop, which cuts decimals off instead of rounding."""
    differences = []
    for name in list_images(images):
        ours, plain = (cv2.imread(str((folder / side / name).with_suffix(".png"))) for side in ("ours", "plain_loop"))
        assert ours is not None
        assert plain is not None
        differences.append(int(cv2.absdiff(ours, plain).max()))
    return max(differences)


def time_memory(options: argparse.Namespace, folder: Path, images: Path) -> dict[str, Any]:
    """One conversion, watched, then the same command again."""
    model = make_model(folder, options.network, options.backend)
    command = convert_command(folder, model, images, folder / "output", options.backend)
    run, samples = measure(command, options.threads, watch=folder / "output", own=folder / "own")
    again, _ = measure(command, options.threads, own=folder / "own")
    plot(samples, folder / "memory.png")
    middle = [sample for sample in samples if sample.done > 0]
    tenth = max(len(middle) // 10, 1)
    return {
        "images": len(list_images(images)),
        "conversion": vars(run),
        "restart": vars(again),
        "first_tenth": statistics.median(sample.memory for sample in middle[tenth : 2 * tenth] or middle),
        "last_tenth": statistics.median(sample.memory for sample in middle[-tenth:]),
        "samples": [vars(sample) for sample in samples],
    }


def plot(samples: list[Sample], file: Path) -> None:
    """Memory and images done over time, below one another."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (memory, done) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 6), constrained_layout=True)
    seconds = [sample.seconds for sample in samples]
    memory.plot(seconds, [sample.memory for sample in samples])
    memory.set(ylabel="resident memory, MiB", ylim=(0, None), title="translate convert")
    done.plot(seconds, [sample.done for sample in samples])
    done.set(ylabel="images written", xlabel="seconds", ylim=(0, None))
    figure.savefig(file, dpi=120)


def speed_table(result: dict[str, Any], options: argparse.Namespace) -> Table:
    """Both sides; x: how many times as much the plain loop takes."""
    size = "" if options.images else f" of {options.size} pixels"
    table = Table(
        *("way", "images/s", "wall s", "CPU s", "peak MiB", "wall x", "CPU x", "MiB x"),
        title=f"{result['images']} images{size}, {options.network}, {options.backend}",
    )
    for side in ("ours", "plain loop"):
        row = result[side]
        ratios = [f"{row[f'{clock}_ratio']:.2f}" for clock in ("wall", "cpu", "peak")]
        speed = f"{result['images'] / row['wall']:.2f}"
        table.add_row(side, speed, f"{row['wall']:.2f}", f"{row['cpu']:.2f}", f"{row['peak']:.0f}", *ratios)
    return table


def memory_table(result: dict[str, Any], options: argparse.Namespace) -> Table:
    """The conversion, and the restart when all was done."""
    count = result["images"]
    title = f"{count} images, {options.network}, {options.backend}"
    table = Table("run", "images/s", "wall s", "CPU s", "peak MiB", title=title)
    for name in ("conversion", "restart"):
        row = result[name]
        speed = f"{count / row['wall']:.0f}"
        table.add_row(name, speed, f"{row['wall']:.1f}", f"{row['cpu']:.1f}", f"{row['peak']:.0f}")
    return table


def run(options: argparse.Namespace) -> None:
    """Make what is needed, time it, print it, and write it to the JSON file.

    Raises:
        UserError: an option that does not fit, or a process that failed.
    """
    if not Path("/proc/self/status").is_file():
        raise UserError("this benchmark reads the memory of processes from /proc, which Linux alone has")
    for name, least in (("repeats", 1), ("count", 1), ("threads", 1), ("size", 8)):
        if getattr(options, name) < least:
            raise UserError(f"--{name} {getattr(options, name)} must be at least {least}")
    if options.images is not None and not options.images.is_dir():
        raise UserError(f"--images {options.images} is no folder")
    if options.keep is not None and options.keep.is_dir() and any(options.keep.iterdir()):
        raise UserError(f"--keep {options.keep} is not empty: give a new folder")
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() if options.keep is None else nullcontext(str(options.keep)) as name:
        folder = Path(name)
        images = options.images or folder / "images"
        if options.images is None:
            draw_images(images, options.count, options.size)
        if options.part == "speed":
            result = time_speed(options, folder, images)
            console.print(speed_table(result, options))
            console.print(f"Largest difference of a pixel: {result['largest_difference']} of 255")
        else:
            result = time_memory(options, folder, images)
            console.print(memory_table(result, options))
            first, last = result["first_tenth"], result["last_tenth"]
            console.print(f"Memory early {first:.0f} MiB, at the end {last:.0f} MiB ({last - first:+.0f})")
            if options.keep is not None:
                console.print(f"Memory over time: {folder / 'memory.png'}", soft_wrap=True)
    result["hardware"] = hardware(options.threads, "cpu")
    console.print(result["hardware"], soft_wrap=True)
    if options.json is not None:
        options.json.write_text(json.dumps(vars(options) | result, indent=2, default=str) + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line; errors meant for the user are printed without a traceback."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("speed", "memory"), default="speed", help="what to measure (speed)")
    parser.add_argument("--network", help="a generator of conf/generator, or tiny (resnet_9blocks; memory: tiny)")
    parser.add_argument("--backend", choices=("torch", "onnxruntime", "openvino"), default="torch", help="(torch)")
    parser.add_argument("--size", type=int, help="pixels per side of drawn images (256; memory: 32)")
    parser.add_argument("--count", type=int, help="images to draw (60; memory: 100000)")
    parser.add_argument("--images", type=Path, help="a folder of images to convert instead of drawn ones")
    parser.add_argument("--repeats", type=int, default=3, help="how often the sides take turns (3)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each side's network (1)")
    parser.add_argument("--keep", type=Path, help="folder for images, model, outputs and plot (default: none stays)")
    parser.add_argument("--json", type=Path, help="file to write every number to")
    options = parser.parse_args()
    usual = {"network": "tiny", "size": 32, "count": 100_000}
    if options.part == "speed":
        usual = {"network": "resnet_9blocks", "size": 256, "count": 60}
    for name, value in usual.items():
        setattr(options, name, value if getattr(options, name) is None else getattr(options, name))
    try:
        run(options)
    except UserError as error:
        fail(str(error), 2)


if __name__ == "__main__":
    main()
