"""Videos: decoded with PyAV, translated frame by frame, encoded again with the sound as it was.

No temporal model is at work: a frame is translated as an image would be and does not know its neighbours.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from heapq import heappop, heappush
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from translate.data.image import ImageError
from translate.files import write_atomically

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

TranslateBatch = Callable[[list[np.ndarray]], list[np.ndarray]]
Progress = Callable[[int, int | None], None]

EXTENSIONS = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})
READABLE = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg"
"""What a file may be inside, whatever its extension: no playlist, which would open other files, and no image."""
FINEST_AVI = 1000
"""AVI counts frames instead of telling times; between frames it counts skipped ones, at most so many a second."""
AHEAD = 60
"""Seconds by which one stream may run ahead of the others before the muxer stops to sort packets by time."""
MISSING_END = 0.5
"""Seconds by which a Matroska file may end before its time without counting as truncated."""
OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder"}
"""Metadata that describe the input's container and not what it shows."""
UNTAGGED, LIMITED = 2, 1
BT709, BT601 = 1, 6
MATRICES = {BT709: 1, 5: 5, BT601: 5, 7: 7, 9: 9}
"""YCbCr matrices, from the numbers of video files (ITU-T H.273) to those of swscale."""


@dataclass(frozen=True)
class Encoder:
    """How the pictures of a container are encoded.

    Attributes:
        name: libav's name of the encoder.
        container: libav's name of the container.
        multiple: what width and height must be a multiple of.
        options: of the encoder, for losses that are hardly seen.
    """

    name: str
    container: str
    multiple: int
    options: dict[str, str]


ENCODERS = {
    ".mp4": Encoder("libx264", "mp4", 2, {"crf": "18"}),
    ".m4v": Encoder("libx264", "mp4", 2, {"crf": "18"}),
    ".mov": Encoder("libx264", "mov", 2, {"crf": "18"}),
    ".mkv": Encoder("libx264", "matroska", 2, {"crf": "18"}),
    ".webm": Encoder("libvpx-vp9", "webm", 1, {"crf": "18", "b": "0", "row-mt": "1", "cpu-used": "4"}),
    ".avi": Encoder("mpeg4", "avi", 1, {"flags": "+qscale", "global_quality": str(2 * 118)}),  # quantiser 2
}


def convert_video(
    translate_batch: TranslateBatch,
    input_path: Path,
    output_path: Path,
    *,
    batch_size: int,
    progress: Progress | None = None,
) -> int:
    """Translate the frames of a video in order, write them as a video, and return how many they are.

    Frames keep their times; all sound tracks are copied as they are, and so are subtitles that the output's container
    holds. Rotation is applied. The pictures are encoded anew with 8 bits and 4:2:0 chroma: H.264 in `.mp4`, `.m4v`,
    `.mov` and `.mkv`, VP9 in `.webm`, MPEG-4 in `.avi`. H.264 has even sizes: an odd width or height grows by a copy
    of the last column or row. Times are rounded to milliseconds in `.mkv`, `.webm` and `.avi`. Transparency,
    attachments and further video tracks are left out.

    The file appears under its name when it is complete. Memory is that of a batch.

    Args:
        translate_batch: turns up to `batch_size` frames, each (H, W, 3) uint8 RGB, into as many images of uint8,
            (H, W, 3), or (H, W, 1) for grey.
        input_path: the video.
        output_path: where to write; its extension, one of `EXTENSIONS`, names the container.
        batch_size: frames translated together.
        progress: called after every batch with the frames done and, where the file tells, their total.

    Raises:
        ImageError: the video is damaged, truncated or empty, holds no pictures, changes its size, or its codec is
            unknown; the output's container does not hold its sound; the results are no pictures of a video; PyAV is
            not installed or lacks the encoder.
        OSError: the disk is full or the folder cannot be written.
    """
    av = _pyav()
    suffix = output_path.suffix.lower()
    if suffix not in ENCODERS:
        raise ImageError(f"cannot become a {suffix} file; videos are {', '.join(sorted(EXTENSIONS))}")
    if ENCODERS[suffix].name not in av.codecs_available:
        raise ImageError(f"cannot become a {suffix} file: the installed PyAV lacks the encoder {ENCODERS[suffix].name}")
    done = 0

    def write(partial: Path) -> None:
        nonlocal done
        with _open(input_path) as video, partial.open("wb") as file:
            writer: _Writer | None = None
            for frames, packets in video.batches(batch_size):
                results = _translated(translate_batch, frames)
                if writer is None:
                    writer = _Writer(file, suffix, video, results[0])
                writer.encode(results, frames)
                writer.copy(packets)
                done += len(frames)
                if progress is not None:
                    progress(done, video.total)
            if writer is not None:
                writer.close()

    try:
        write_atomically(output_path, write)
    except av.FFmpegError as error:
        raise ImageError(f"cannot be written as a {suffix} file: {error.strerror}") from error
    return done


@dataclass(frozen=True)
class Frame:
    """A picture, (H, W, 3) uint8 RGB, upright; its time and duration in units of its track's time base."""

    pixels: np.ndarray
    time: int
    duration: int


@contextmanager
def _open(path: Path) -> Iterator["_Video"]:
    av = _pyav()
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImageError(f"cannot be opened: {error.strerror or error}") from error
    with file:
        if not file.read(1):
            raise ImageError("is empty")
        file.seek(0)
        try:
            # An open file instead of its path: libav would take some names for addresses.
            container = av.open(file, container_options={"format_whitelist": READABLE}, metadata_errors="replace")
        except av.FFmpegError as error:
            raise ImageError("cannot be decoded: damaged, truncated, or not a video of a supported format") from error
        with container:
            yield _Video(container)


class _Video:
    """An open video: the track of pictures to translate, and the tracks to copy."""

    def __init__(self, container: "InputContainer") -> None:
        from av.stream import Disposition

        self.container = container
        tracks = [track for track in container.streams.video if not track.disposition & Disposition.attached_pic]
        if not tracks:
            raise ImageError("holds no moving pictures")
        self.track: VideoStream = tracks[0]
        if self.track.codec_context is None:
            raise ImageError("holds pictures in a codec that the installed PyAV does not know")
        self.track.thread_type = "AUTO"
        self.copied: list[Stream] = [*container.streams.audio, *container.streams.subtitles]
        self.total: int | None = self.track.frames or None
        self.is_transposed = False
        """Whether width and height changed places to make the pictures upright."""

    def batches(self, batch_size: int) -> Iterator[tuple[list[Frame], list["Packet[Any]"]]]:
        """Groups of at most `batch_size` frames, none empty, each with the packets to copy that were read with them."""
        frames: list[Frame] = []
        packets: list[Packet[Any]] = []
        size: tuple[int, ...] | None = None
        for item in self._read():
            if not isinstance(item, Frame):
                packets.append(item)
                continue
            size = size or item.pixels.shape
            if item.pixels.shape != size:
                raise ImageError(
                    f"changes its size from {size[1]}x{size[0]} to {item.pixels.shape[1]}x{item.pixels.shape[0]}; "
                    "split it there"
                )
            if len(frames) == batch_size:
                yield frames, packets
                frames, packets = [], []
            frames.append(item)
        if not frames:
            raise ImageError("holds no frames")
        yield frames, packets

    def _read(self) -> Iterator["Frame | Packet[Any]"]:
        av = _pyav()
        copied = {track.index for track in self.copied}
        count, end = 0, 0.0
        earliest: int | None = None
        shown: list[int] = []
        is_avi = self.container.format.name == "avi"
        try:
            for packet in self.container.demux():
                if packet.is_corrupt:
                    raise ImageError(f"is truncated or damaged after {count} frames")
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream.index in copied and packet.size:
                    yield packet
                if packet.stream.index != self.track.index:
                    continue
                if is_avi and packet.dts is not None and packet.size:
                    heappush(shown, packet.dts)
                for frame in self.track.decode(packet):
                    # AVI tells when pictures are decoded, and in that order; they are shown at the same times.
                    time = heappop(shown) if shown else frame.pts if frame.pts is not None else earliest or 0
                    if earliest is not None:
                        time = max(time, earliest)  # a damaged file repeats times, which the output must not
                    earliest = time + 1
                    count += 1
                    yield Frame(self._upright(frame), time, frame.duration or 0)
        except av.FFmpegError as error:
            raise ImageError(f"is damaged after {count} frames: {error.strerror}") from error
        # libav ends a cut Matroska file without a word.
        whole = (self.container.duration or 0) / av.time_base
        if self.container.format.name.startswith("matroska") and end < whole - MISSING_END:
            raise ImageError(f"is truncated: it ends after {end:.1f} of {whole:.1f} seconds")

    def _upright(self, frame: "VideoFrame") -> np.ndarray:
        pixels = frame.to_ndarray(
            format="rgb24",
            src_colorspace=_usual_matrix(frame.height) if frame.colorspace == UNTAGGED else None,
            interpolation=_interpolation(),
        )
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
        if matrix is not None:
            # x' = a x + c y and y' = b x + d y, in native 32-bit numbers: a b u c d v x y w.
            a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
            self.is_transposed = abs(b) > abs(a)
            if self.is_transposed:
                pixels, a, d = pixels.swapaxes(0, 1), c, b
            pixels = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
        return np.ascontiguousarray(pixels)


class _Writer:
    """A video that grows frame by frame, with copied tracks."""

    def __init__(self, file: IO[bytes], suffix: str, video: _Video, first: np.ndarray) -> None:
        av = _pyav()
        if first.dtype != np.uint8 or first.shape[2] not in (1, 3):
            raise ImageError(
                f"would become {first.dtype} pictures with {first.shape[2]} channels, which no video holds: write its "
                "frames as images"
            )
        encoder, source = ENCODERS[suffix], video.track
        context = source.codec_context
        rate = source.guessed_rate or source.average_rate or Fraction(24)
        self.time_base = self.source_base = source.time_base or Fraction(1, av.time_base)
        if suffix == ".avi":
            rate = min(source.base_rate or rate, Fraction(FINEST_AVI)).limit_denominator(1001)
            self.time_base = 1 / rate
        self.earliest: int | None = None
        self.shape = first.shape
        height, width, _ = first.shape
        self.padding = ((0, -height % encoder.multiple), (0, -width % encoder.multiple), (0, 0))
        self.container = av.open(
            file, "w", format=encoder.container, container_options={"max_interleave_delta": str(AHEAD * av.time_base)}
        )
        self.container.metadata.update(
            (key, value) for key, value in video.container.metadata.items() if key not in OF_THE_FILE
        )
        self.track = self.container.add_stream(
            encoder.name,
            rate=rate,
            options=dict(encoder.options),
            width=width + self.padding[1][1],
            height=height + self.padding[0][1],
            pix_fmt="yuv420p",
            time_base=self.time_base,
        )
        own = self.track.codec_context
        ratio = source.sample_aspect_ratio
        if ratio:
            own.sample_aspect_ratio = 1 / ratio if video.is_transposed else ratio
        # AVI cannot say which matrix it was, so that readers guess.
        self.matrix = context.colorspace if context.colorspace in MATRICES and suffix != ".avi" else UNTAGGED
        if self.matrix == UNTAGGED:
            self.matrix = _usual_matrix(height)
        own.colorspace, own.color_range = self.matrix, LIMITED
        own.color_primaries, own.color_trc = context.color_primaries, context.color_trc
        self.copies: dict[int, Stream] = {}
        for track in video.copied:
            self._add_copy(track, suffix)
        self.container.set_chapters(video.container.chapters())

    def _add_copy(self, track: "Stream", suffix: str) -> None:
        try:
            copy = self.container.add_stream_from_template(track)
        except ValueError as error:
            if track.type == "subtitle":
                return
            codec = track.codec_context.name if track.codec_context else "an unknown codec"
            raise ImageError(f"holds sound in {codec}, which {suffix} files cannot; convert it into .mkv") from error
        copy.metadata.update(track.metadata)
        copy.disposition = track.disposition
        self.copies[track.index] = copy

    def encode(self, images: list[np.ndarray], frames: list[Frame]) -> None:
        """Add the images at the times of the frames they were made of."""
        av = _pyav()
        for image, frame in zip(images, frames, strict=True):
            if image.shape != self.shape:
                raise ImageError(f"would become a video of several sizes: {image.shape} after {self.shape}")
            image = np.pad(image, self.padding, "edge")
            image = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
            picture = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
                format="yuv420p",
                dst_colorspace=MATRICES[self.matrix],
                dst_color_range=LIMITED,
                interpolation=_interpolation(),
            )
            time = round(frame.time * self.source_base / self.time_base)
            picture.pts = time if self.earliest is None else max(time, self.earliest)
            self.earliest = picture.pts + 1
            picture.time_base = self.time_base
            picture.duration = round(frame.duration * self.source_base / self.time_base)
            self.container.mux(self.track.encode(picture))

    def copy(self, packets: list["Packet[Any]"]) -> None:
        """Add packets of the tracks that are copied."""
        for packet in packets:
            if packet.stream.index in self.copies:
                packet.stream = self.copies[packet.stream.index]
                self.container.mux(packet)

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file."""
        self.container.mux(self.track.encode(None))
        self.container.close()


def _translated(translate_batch: TranslateBatch, frames: list[Frame]) -> list[np.ndarray]:
    results = translate_batch([frame.pixels for frame in frames])
    if len(results) != len(frames):
        raise ValueError(f"{len(frames)} frames became {len(results)} images")
    return results


def _usual_matrix(height: int) -> int:
    """What an untagged video is taken for: ITU-R BT.709 in high definition, else BT.601."""
    return BT709 if height >= 720 else BT601


def _interpolation() -> int:
    """swscale's bilinear scaling of chroma, without its short cuts in rounding."""
    from av.video.reformatter import Interpolation

    return Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise ImageError("is a video, which needs the video extra: pip install 'translate-images[video]'") from error
    return av
