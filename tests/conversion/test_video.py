"""Videos are translated frame by frame; times, sound and what is not understood are treated as promised."""

import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from translate.conversion import video as video_module
from translate.conversion.video import EXTENSIONS, Encoder, convert_video
from translate.data.image import ImageError

CODECS = {".webm": ("libvpx-vp9", "libopus"), ".avi": ("mpeg4", "pcm_s16le"), ".mov": ("libx264", "pcm_s16le")}
SECOND = 1000


def read_frames(path: Path) -> Iterator[np.ndarray]:
    """The pictures of a video in order."""
    with video_module._open(path) as video:
        for frames, _ in video.batches(1):
            yield from (frame.pixels for frame in frames)


def same(images: list[np.ndarray]) -> list[np.ndarray]:
    return images


def picture(index: int, height: int, width: int) -> np.ndarray:
    """Red grows to the right, green to the bottom, blue from frame to frame."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 200 / width + 20, y * 200 / height + 20, np.full_like(x, 8 * index + 20)], -1).astype(np.uint8)


def make_video(
    path: Path,
    *,
    size: tuple[int, int] = (32, 24),
    times: Sequence[int] = range(8),
    unit: Fraction = Fraction(1, 8),
    codec: str | None = None,
    sound: int = 1,
    pixels: str = "yuv420p",
    **options: str,
) -> Path:
    """A video of `size` (width, height) whose frames are `picture`s at `times`, and tracks of sound."""
    usual, usual_sound = CODECS.get(path.suffix.lower(), ("libx264", "aac"))
    with av.open(path, "w", container_options=options) as container:
        track = container.add_stream(codec or usual, rate=1 / unit, width=size[0], height=size[1], time_base=unit)
        track.pix_fmt = pixels
        tracks = [container.add_stream(usual_sound, rate=48000) for _ in range(sound)]
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(index, size[1], size[0]), "rgb24")
            frame.pts, frame.time_base = time, unit
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
        for number, track in enumerate(tracks):
            for start in range(0, int(48000 * float((times[-1] + 1) * unit)), 1024):
                wave = (8000 * np.sin((number + 1) * np.arange(start, start + 1024) / 20)).astype(np.int16)
                samples = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], "s16", "stereo")
                samples.sample_rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
                container.mux(track.encode(samples))
            container.mux(track.encode(None))
    return path


def times_of(path: Path) -> list[int]:
    """When the frames are shown, in milliseconds."""
    with av.open(path) as container:
        return [round(frame.pts * frame.time_base * SECOND) for frame in container.decode(video=0)]


def packets_of(path: Path, kind: str) -> list[tuple[int, int, bytes]]:
    """The packets of all tracks of a kind: track, time in milliseconds, and content."""
    with av.open(path) as container:
        return [
            (packet.stream.index, round(packet.pts * packet.time_base * SECOND), bytes(packet))
            for packet in container.demux()
            if packet.stream.type == kind and packet.size
        ]


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((first.astype(float) - second) ** 2), 1e-9)))


@pytest.mark.parametrize("suffix", sorted(EXTENSIONS))
def test_times_size_pictures_and_sound_stay(tmp_path: Path, suffix: str) -> None:
    source = make_video(tmp_path / f"a{suffix}", size=(64, 48))
    result = tmp_path / f"b{suffix}"
    assert convert_video(same, source, result, batch_size=3) == 8
    before, after = list(read_frames(source)), list(read_frames(result))
    assert [frame.shape for frame in after] == [(48, 64, 3)] * 8
    assert times_of(result) == times_of(source) == [125 * index for index in range(8)]
    assert packets_of(source, "audio") == packets_of(result, "audio") != []
    for index in range(8):
        assert psnr(before[index], after[index]) > 38
        assert psnr(picture(index, 48, 64), after[index]) > 30
    with av.open(source) as first, av.open(result) as second:
        assert second.format.name == first.format.name
        assert second.streams.video[0].average_rate == first.streams.video[0].average_rate == 8


def test_frames_reach_the_translation_in_order_in_batches_and_as_rgb(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4")
    batches: list[list[np.ndarray]] = []
    told: list[tuple[int, int | None]] = []

    def negative(images: list[np.ndarray]) -> list[np.ndarray]:
        batches.append(images)
        return [255 - image for image in images]

    convert_video(
        negative, source, tmp_path / "b.mp4", batch_size=3, progress=lambda done, total: told.append((done, total))
    )
    assert [len(batch) for batch in batches] == [3, 3, 2]
    assert told == [(3, 8), (6, 8), (8, 8)]
    frames = [image for batch in batches for image in batch]
    assert all(image.dtype == np.uint8 and image.flags.c_contiguous for image in frames)
    for index, result in enumerate(read_frames(tmp_path / "b.mp4")):
        assert psnr(frames[index], picture(index, 24, 32)) > 30
        assert psnr(result, 255 - picture(index, 24, 32)) > 30


def test_a_container_that_does_not_count_its_frames_has_no_total(tmp_path: Path) -> None:
    told: list[int | None] = []
    convert_video(
        same,
        make_video(tmp_path / "a.mkv"),
        tmp_path / "b.mkv",
        batch_size=8,
        progress=lambda done, total: told.append(total),
    )
    assert told == [None]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path, suffix: str) -> None:
    source = make_video(tmp_path / f"a{suffix}", times=[0, 3, 4, 10, 11, 20], unit=Fraction(1, 50))
    convert_video(same, source, tmp_path / f"b{suffix}", batch_size=4)
    assert times_of(source) == times_of(tmp_path / f"b{suffix}") == [0, 60, 80, 200, 220, 400]


def test_a_timelapse_with_seconds_between_frames_keeps_its_sound(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", times=range(12), unit=Fraction(3))
    convert_video(same, source, tmp_path / "b.mp4", batch_size=8)
    assert times_of(tmp_path / "b.mp4") == [3000 * index for index in range(12)]
    assert packets_of(source, "audio") == packets_of(tmp_path / "b.mp4", "audio")


def test_pictures_of_an_avi_that_were_stored_out_of_order_are_shown_in_order(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.avi", codec="libx264", sound=0)
    convert_video(same, source, tmp_path / "b.avi", batch_size=4)
    assert times_of(tmp_path / "b.avi") == [125 * index for index in range(8)]
    for index, frame in enumerate(read_frames(tmp_path / "b.avi")):
        assert psnr(frame, picture(index, 24, 32)) > 28


def test_packets_are_written_in_order_of_time(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mkv", times=range(60), unit=Fraction(1, 24))
    convert_video(same, source, tmp_path / "b.mkv", batch_size=16)
    with av.open(tmp_path / "b.mkv") as container:
        times = [packet.dts * packet.time_base for packet in container.demux() if packet.dts is not None]
    assert len(times) > 100
    assert max(early - late for early, late in pairwise(times)) <= Fraction(1, 10)


def test_all_sound_tracks_subtitles_chapters_and_titles_stay(tmp_path: Path) -> None:
    source = make_video(tmp_path / "plain.mkv", sound=2)
    rich = tmp_path / "a.mkv"
    with av.open(source) as plain, av.open(rich, "w") as container:
        tracks = {track.index: container.add_stream_from_template(track, opaque=True) for track in plain.streams}
        tracks[2].metadata["language"] = "ger"
        words = container.add_mux_stream("subrip")
        container.metadata["title"] = "A title"
        whole = Fraction(1, 1000)
        container.set_chapters([{"id": 1, "start": 0, "end": 500, "time_base": whole, "metadata": {"title": "One"}}])
        for packet in plain.demux():
            if packet.size:
                packet.stream = tracks[packet.stream.index]
                container.mux(packet)
        spoken = av.Packet(b"Hello")
        spoken.stream, spoken.time_base = words, whole
        spoken.pts = spoken.dts = 250
        spoken.duration = 500
        container.mux(spoken)
    convert_video(same, rich, tmp_path / "b.mkv", batch_size=4)
    assert len({track for track, *_ in packets_of(rich, "audio")}) == 2
    assert packets_of(tmp_path / "b.mkv", "audio") == packets_of(rich, "audio")
    assert packets_of(tmp_path / "b.mkv", "subtitle") == [(3, 250, b"Hello")]
    with av.open(tmp_path / "b.mkv") as container:
        assert container.metadata["title"] == "A title"
        assert [track.language for track in container.streams.audio][1] == "ger"
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["One"]


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    ],
)
def test_rotation_is_applied(
    tmp_path: Path, matrix: tuple[int, int, int, int], upright: Callable[[np.ndarray], np.ndarray]
) -> None:
    source = make_video(tmp_path / "a.mp4")
    flat = next(read_frames(source))
    data = bytearray(source.read_bytes())
    a, b, c, d = (65536 * value for value in matrix)
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    source.write_bytes(data)
    assert (next(read_frames(source)) == upright(flat)).all()
    convert_video(same, source, tmp_path / "b.mp4", batch_size=4)
    with av.open(tmp_path / "b.mp4") as container:
        frame = next(container.decode(video=0))
        assert (frame.height, frame.width) == upright(flat).shape[:2]
        assert frame.rotation == 0
    assert psnr(next(read_frames(tmp_path / "b.mp4")), upright(flat)) > 34


def test_h264_repeats_the_last_column_and_row_of_odd_sizes(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", size=(33, 25), pixels="yuv444p")
    convert_video(same, source, tmp_path / "b.mp4", batch_size=4)
    before, after = next(read_frames(source)), next(read_frames(tmp_path / "b.mp4"))
    assert before.shape == (25, 33, 3)
    assert after.shape == (26, 34, 3)
    assert psnr(np.pad(before, ((0, 1), (0, 1), (0, 0)), "edge"), after) > 34


@pytest.mark.parametrize("suffix", [".webm", ".avi"])
def test_other_codecs_keep_odd_sizes(tmp_path: Path, suffix: str) -> None:
    source = make_video(tmp_path / f"a{suffix}", size=(33, 25))
    convert_video(same, source, tmp_path / f"b{suffix}", batch_size=4)
    assert next(read_frames(tmp_path / f"b{suffix}")).shape == (25, 33, 3)


def test_the_size_may_change_with_the_translation(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4")
    convert_video(lambda images: [image[:16, :20] for image in images], source, tmp_path / "b.mp4", batch_size=4)
    assert next(read_frames(tmp_path / "b.mp4")).shape == (16, 20, 3)


def test_one_channel_becomes_grey(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4")
    convert_video(lambda images: [image[..., :1] for image in images], source, tmp_path / "b.mp4", batch_size=4)
    frame = next(read_frames(tmp_path / "b.mp4")).astype(int)
    assert np.ptp(frame, axis=2).max() <= 2
    assert psnr(frame[..., :1], picture(0, 24, 32)[..., :1]) > 34


@pytest.mark.parametrize(("size", "matrix"), [((32, 24), 6), ((64, 720), 1)])
def test_an_untagged_video_is_taken_for_the_matrix_of_its_height_and_says_so_afterwards(
    tmp_path: Path, size: tuple[int, int], matrix: int
) -> None:
    source = make_video(tmp_path / "a.mp4", size=size, times=range(2))
    convert_video(same, source, tmp_path / "b.mp4", batch_size=4)
    with av.open(tmp_path / "b.mp4") as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range) == (matrix, 1)
    assert psnr(next(read_frames(source)), next(read_frames(tmp_path / "b.mp4"))) > 38


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix"), [("libx264", "yuvj420p", ".mp4"), ("rawvideo", "bgr24", ".avi")]
)
def test_full_range_and_rgb_videos_keep_their_colours(tmp_path: Path, codec: str, pixels: str, suffix: str) -> None:
    source = make_video(tmp_path / f"a{suffix}", codec=codec, pixels=pixels)
    convert_video(same, source, tmp_path / f"b{suffix}", batch_size=4)
    assert psnr(next(read_frames(source)), next(read_frames(tmp_path / f"b{suffix}"))) > 34
    assert psnr(picture(0, 24, 32), next(read_frames(source))) > 34


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def damaged(path: Path) -> Path:
    """Wrong bits in the pictures of a video that has nothing else."""
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat")
    end = start - 4 + int.from_bytes(data[start - 4 : start])
    for place in range((start + end) // 2, end):
        data[place] ^= 0x55
    path.write_bytes(data)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def make_sound(path: Path) -> Path:
    with av.open(path, "w") as container:
        track = container.add_stream("pcm_s16le", rate=48000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), "s16", "stereo")
        samples.sample_rate = 48000
        container.mux(track.encode(samples))
    return path


def make_of_two_sizes(path: Path) -> Path:
    with av.open(path, "w") as container:
        track = container.add_stream("libvpx", rate=8, width=32, height=24)
        other = av.CodecContext.create("libvpx", "w")
        other.width, other.height, other.pix_fmt, other.time_base = 16, 24, "yuv420p", Fraction(1, 8)
        for context, place in ((track.codec_context, 0), (other, 1)):
            frame = av.VideoFrame.from_ndarray(picture(0, context.height, context.width), "rgb24")
            frame.pts, frame.time_base = place, Fraction(1, 8)
            for packet in [*context.encode(frame), *context.encode(None)]:
                packet.stream = track
                container.mux(packet)
    return path


def make_unknown(path: Path) -> Path:
    make_video(path, sound=0)
    return written(path, path.read_bytes().replace(b"FMP4", b"ZZZZ"))


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing.mp4": (lambda path: path, "cannot be opened: No such file or directory"),
    "folder.mp4": (lambda path: path.mkdir() or path, "cannot be opened: Is a directory"),
    "empty.mp4": (lambda path: written(path, b""), "is empty"),
    "noise.mp4": (lambda path: written(path, bytes(range(256)) * 20), "cannot be decoded"),
    "playlist.mp4": (lambda path: written(path, b"ffconcat version 1.0\nfile a.mp4\n"), "cannot be decoded"),
    "cut.mp4": (lambda path: cut(make_video(path), 0.7), "cannot be decoded: damaged, truncated"),
    "cut fast.mp4": (lambda path: cut(make_video(path, movflags="faststart"), 0.7), "truncated or damaged after"),
    "cut.mkv": (lambda path: cut(make_video(path, times=range(16)), 0.4), r"is truncated: it ends after .* of 2.0 sec"),
    "cut.avi": (lambda path: cut(make_video(path), 0.6), "is truncated or damaged after"),
    "damaged.mp4": (lambda path: damaged(make_video(path, sound=0, times=range(16))), "is damaged after"),
    "sound.mkv": (make_sound, "holds no moving pictures"),
    "two sizes.mkv": (make_of_two_sizes, "changes its size from 32x24 to 16x24"),
    "unknown.avi": (make_unknown, "codec that the installed PyAV does not know"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_video_is_refused_with_its_reason_and_leaves_the_output_as_it_was(tmp_path: Path, name: str) -> None:
    make, reason = BAD[name]
    path = make(tmp_path / name)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).write_bytes(b"old")
    with pytest.raises(ImageError, match=reason):
        convert_video(same, path, folder / name, batch_size=2)
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [(name, b"old")]
    with pytest.raises(ImageError, match=reason):
        list(read_frames(path))


RESULTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "channels": (lambda image: image[..., :2], "uint8 pictures with 2 channels"),
    "type": (lambda image: image.astype(np.uint16), "uint16 pictures with 3 channels"),
    "sizes": (lambda image: image[: 12 if image[0, 0, 2] < 60 else 10], "a video of several sizes"),
}


@pytest.mark.parametrize("case", RESULTS)
def test_results_that_no_video_holds_are_refused(tmp_path: Path, case: str) -> None:
    change, reason = RESULTS[case]
    source = make_video(tmp_path / "a.mp4")
    with pytest.raises(ImageError, match=reason):
        convert_video(lambda images: [change(image) for image in images], source, tmp_path / "b.mp4", batch_size=2)
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_sound_that_a_container_does_not_hold_is_named(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4")
    with pytest.raises(ImageError, match=r"holds sound in aac, which .webm files cannot; convert it into .mkv"):
        convert_video(same, source, tmp_path / "b.webm", batch_size=2)
    convert_video(same, source, tmp_path / "b.mkv", batch_size=2)
    assert sorted(os.listdir(tmp_path)) == ["a.mp4", "b.mkv"]
    assert [data for *_, data in packets_of(tmp_path / "b.mkv", "audio")] == [
        data for *_, data in packets_of(source, "audio")
    ]


def test_an_error_of_the_translation_passes_and_leaves_no_file(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4")
    calls: list[int] = []

    def fails(images: list[np.ndarray]) -> list[np.ndarray]:
        calls.append(len(images))
        if len(calls) == 3:
            raise ImageError("does not suit the model")
        return images

    with pytest.raises(ImageError, match="does not suit the model"):
        convert_video(fails, source, tmp_path / "b.mp4", batch_size=2)
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi"])
def test_a_full_disk_is_an_error_of_the_system_and_leaves_no_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str
) -> None:
    source = make_video(tmp_path / f"a{suffix}")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            convert_video(same, source, tmp_path / f"b{suffix}", batch_size=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == [source.name]
    assert capfd.readouterr() == ("", "")


def test_nothing_is_printed_even_about_a_damaged_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    convert_video(same, make_video(tmp_path / "a.mp4"), tmp_path / "b.mp4", batch_size=2)
    with pytest.raises(ImageError):
        list(read_frames(damaged(make_video(tmp_path / "c.mp4", sound=0, times=range(16)))))
    assert capfd.readouterr() == ("", "")


def test_other_extensions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot become a .gif file; videos are .avi, .m4v, .mkv, .mov, .mp4, .webm"):
        convert_video(same, make_video(tmp_path / "a.mp4"), tmp_path / "b.gif", batch_size=2)


def test_upper_case_extensions_and_names_like_addresses_are_fine(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.MP4").rename(tmp_path / "http:a%d ü.MP4")
    assert convert_video(same, source, tmp_path / "concat:b%03d.MP4", batch_size=2) == 8
    assert len(list(read_frames(tmp_path / "concat:b%03d.MP4"))) == 8


def test_a_pyav_without_the_encoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(video_module.ENCODERS, ".mp4", Encoder("libnothing", "mp4", 2, {}))
    with pytest.raises(ImageError, match="the installed PyAV lacks the encoder libnothing"):
        convert_video(same, make_video(tmp_path / "a.mp4"), tmp_path / "b.mp4", batch_size=2)


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_video(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    calls: list[Callable[[], Any]] = [
        lambda: convert_video(same, source, tmp_path / "b.mp4", batch_size=2),
        lambda: list(read_frames(source)),
    ]
    for call in calls:
        with pytest.raises(ImageError, match=r"pip install 'translate-images\[video\]'"):
            call()


def test_the_module_imports_neither_torch_nor_pyav() -> None:
    code = "import sys, translate.conversion.video; print(sorted({'torch', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
