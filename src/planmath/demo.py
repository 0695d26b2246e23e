"""What `planmath demo` shows: a photograph filtered, digits classified, and what planning once is worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from planmath.core.log import format_seconds
from planmath.core.tuning import record
from planmath.fft import FFT, fft
from planmath.linalg.advanced import Matmul, MatmulEpilog, matmul
from planmath.report.tables import table

Image = np.ndarray
"""Of shape (rows, columns, 3), float32, from 0 to 1."""

#: How far the blur reaches, and how fine the edges are, as the standard deviations of Gaussians in pixels.
BLUR, EDGE = 6.0, 1.2
#: Pixels by which the photograph is continued, mirrored, past its borders: a transform joins opposite borders.
BORDER = 24
CAPTIONS = ("original", "low-pass: blurred", "high-pass: edges")

#: Seconds after which the threads of every library have gone to sleep, so that they do not disturb another one's turn.
SETTLE = 0.25

#: Random features, pictures in a batch, batches to learn from and to be tested on, and the weight of regularization.
FEATURES, BATCH, LEARN, TEST, RIDGE = 1500, 128, 10, 4, 1.0


class MissingPackageError(Exception):
    """A package that the demo needs is not installed."""


def run(output: Path) -> None:
    """The whole demo; pictures go to the folder `output`."""
    for name in ("sklearn", "PIL"):
        try:
            __import__(name)
        except ImportError:
            raise MissingPackageError(
                f"the demo needs scikit-learn (for its data) and Pillow, and {name} is not there; "
                "install both with: pip install 'planmath[demo]'"
            ) from None
    started = time.perf_counter()
    filter_photograph(output)
    classify_digits()
    compare_ways()
    say(f"Done in {format_seconds(time.perf_counter() - started)}. More: the examples, and `planmath info`.")


# A photograph.


def filter_photograph(output: Path) -> None:
    """Filter a photograph by FFT and write it beside the results."""
    from sklearn.datasets import load_sample_image

    heading("1. A photograph, filtered by FFT")
    photograph = load_sample_image("china.jpg").astype(np.float32) / 255
    rows, columns, channels = photograph.shape
    say(f"{columns} x {rows} pixels, {channels} channels; two filters, each a factor for every frequency")
    continued = np.pad(photograph, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="symmetric")
    responses = filters(*continued.shape[:2])
    with stopwatch() as clock:
        results = filtered(continued, responses)
    say(f"2 plans, {channels} forward and {channels * len(responses)} inverse transforms: {clock}")
    expected = np.fft.irfft2(np.fft.rfft2(continued[..., 0].astype(float)) * responses[0], s=continued.shape[:2])
    say(f"largest difference from NumPy in double precision: {np.abs(results[0][..., 0] - expected).max():.1e}")
    blurred, edges = (result[BORDER:-BORDER, BORDER:-BORDER] for result in results)
    edges = np.abs(edges)
    file = output / "photograph.png"
    write(file, [photograph, blurred, edges / np.quantile(edges, 0.995)])
    say(f"written: {file}")


def filters(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian low-pass and a Laplacian-of-Gaussian high-pass, for the spectrum of a real image."""
    square = (2 * np.pi) ** 2 * (np.fft.fftfreq(rows)[:, None] ** 2 + np.fft.rfftfreq(columns) ** 2)
    low_pass = np.exp(-square * BLUR**2 / 2)
    high_pass = square * np.exp(-square * EDGE**2 / 2)
    return low_pass.astype(np.float32), high_pass.astype(np.float32)


def filtered(image: Image, responses: Sequence[np.ndarray]) -> list[Image]:
    """The image after each filter. Both transforms are planned once and executed for every channel and filter."""
    rows, columns, channels = image.shape
    results = [np.empty_like(image) for _ in responses]
    parity = "odd" if columns % 2 else "even"
    with FFT(image[..., 0], axes=(0, 1)) as forward:  # real operand: R2C. The channel is a strided view, not a copy
        forward.plan()
        spectrum = forward.empty_result()
        with FFT(spectrum, axes=(0, 1), options={"fft_type": "C2R", "last_axis_parity": parity}) as inverse:
            inverse.plan()
            for channel in range(channels):
                forward.reset_operand(image[..., channel])
                forward.execute(out=spectrum)
                for response, result in zip(responses, results, strict=True):
                    inverse.reset_operand(spectrum * response)
                    result[..., channel] = inverse.execute() / (rows * columns)  # transforms are not scaled
    return results


def write(file: Path, images: Sequence[Image]) -> None:
    """Write images side by side, with captions, as PNG."""
    from PIL import Image as pillow
    from PIL import ImageDraw

    rows, columns, _ = images[0].shape
    margin, caption = 8, 24
    sheet = pillow.new("RGB", (len(images) * (columns + margin) + margin, rows + caption + margin), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (image, text) in enumerate(zip(images, CAPTIONS, strict=True)):
        left = margin + place * (columns + margin)
        sheet.paste(pillow.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8)), (left, caption))
        draw.text((left, margin), text, fill="black")
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file)


# Digits.


def classify_digits() -> None:
    """Handwritten digits through a random dense layer with bias and ReLU, and a linear readout."""
    from sklearn.datasets import load_digits

    heading("2. Handwritten digits through a dense layer")
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))[: (LEARN + TEST) * BATCH]
    pictures = np.ascontiguousarray(data.data[order].T / 16, dtype=np.float32)
    digits = data.target[order]
    pixels, count = pictures.shape
    say(f"{count} pictures of {pixels} pixels, in batches of {BATCH}; relu(W x + b) with {FEATURES} random features")
    with stopwatch() as clock:
        features = dense_layer(pictures)
    say(f"1 plan, {count // BATCH} products with bias and ReLU: {clock}")
    split = LEARN * BATCH
    known = features[:, :split]
    wanted = np.eye(10, dtype=np.float32)[digits[:split]]
    readout = np.linalg.solve(known @ known.T + RIDGE * np.eye(FEATURES, dtype=np.float32), known @ wanted)
    guessed = (readout.T @ features[:, split:]).argmax(axis=0)
    right = int((guessed == digits[split:]).sum())
    say(f"{right} of {len(guessed)} pictures that it had not seen are read right: accuracy {right / len(guessed):.1%}")


def dense_layer(pictures: np.ndarray) -> np.ndarray:
    """``relu(W x + b)`` for pictures in columns, batch after batch, by one planned product."""
    random = np.random.default_rng(1)
    pixels, count = pictures.shape
    weights = random.normal(scale=pixels**-0.5, size=(FEATURES, pixels)).astype(np.float32)
    bias = random.normal(scale=0.5, size=FEATURES).astype(np.float32)
    features = np.empty((count, FEATURES), np.float32).T  # results with a bias are laid out by columns
    with Matmul(weights, pictures[:, :BATCH]) as layer:
        layer.plan(epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias})
        for start in range(0, count, BATCH):
            layer.reset_operands(b=pictures[:, start : start + BATCH])
            layer.execute(out=features[:, start : start + BATCH])
    return features


# Three ways to call.


@dataclass(frozen=True, slots=True)
class Ways:
    """The same work in each way, each a function without arguments; `tune` returns the operation that it tuned."""

    work: str
    numpy: Callable[[], object]
    stateless: Callable[[], object]
    stateful: Callable[[], object]
    tune: Callable[[], FFT | Matmul]
    tuned: Callable[[FFT | Matmul], object]


def compare_ways() -> None:
    """Time a batch of products, and of transforms, in a loop: stateless, stateful and autotuned."""
    heading("3. One operation, many times: stateless, stateful, autotuned")
    say("Each time with new operands. Stateless: a function call. Stateful: planned once, then operands are reset and")
    say("the plan is executed. Autotuned: the same, by the library and the number of threads measured to be fastest.")
    rows, reports = [], []
    for ways in (products(1000, 124, 10, 15), products(24, 124, 1024, 1512), transforms(1000, 128)):
        say(f"timing {ways.work}")
        with stopwatch() as clock:
            operation = ways.tune()
        with operation:
            seconds = best_of([ways.numpy, ways.stateless, ways.stateful, partial(ways.tuned, operation)])
            reports.append(operation.report())
        numpy, stateless, _, tuned = seconds
        ratios = [f"{numpy / tuned:.2f}x", f"{stateless / tuned:.2f}x"]
        rows.append([ways.work, *map(format_seconds, seconds), *ratios, str(clock)])
    header = ["loop", "NumPy", "stateless", "stateful", "autotuned", "vs NumPy", "vs stateless", "tuning, once"]
    say("\n" + table(header, rows))
    say("\n'vs' is the speed of the autotuned loop against the other. What autotuning measured, and chose:\n")
    say("\n\n".join(reports))
    say(f"\nThe next plan of these operations uses this: it is kept in {record.path()}")


def products(count: int, m: int, n: int, k: int) -> Ways:
    """A sequence of products with bias and ReLU."""
    random = np.random.default_rng(2)
    a, b = random.random((count, m, k), np.float32), random.random((count, k, n), np.float32)
    bias, by_rows = random.random((count, m), np.float32), np.empty((count, m, n), np.float32)
    d = np.empty((count, n, m), np.float32).swapaxes(1, 2)  # results with a bias are laid out by columns
    epilog = MatmulEpilog.RELU_BIAS

    def numpy() -> None:
        for i in range(count):
            np.maximum(a[i] @ b[i] + bias[i, :, None], 0, out=by_rows[i])

    def stateless() -> None:
        for i in range(count):
            d[i] = matmul(a[i], b[i], epilog=epilog, epilog_inputs={"bias": bias[i]})

    def planned(tuning: bool) -> Matmul:
        operation = Matmul(a[0], b[0], options={"tuning": tuning})
        operation.plan(epilog=epilog, epilog_inputs={"bias": bias[0]})
        return operation

    def stateful() -> None:
        with planned(tuning=False) as operation:
            loop(operation)

    def loop(operation: Matmul) -> None:
        for i in range(count):
            operation.reset_operands(a=a[i], b=b[i], epilog_inputs={"bias": bias[i]})
            operation.execute(out=d[i])

    def tune() -> Matmul:
        operation = planned(tuning=True)
        operation.autotune(iterations=5)
        return operation

    return Ways(f"product {m}x{k}x{n}, bias, ReLU; {count} times", numpy, stateless, stateful, tune, loop)  # type: ignore[arg-type]


def transforms(count: int, length: int) -> Ways:
    """A sequence of transforms."""
    random = np.random.default_rng(3)
    a = random.random((count, length)) + 1j * random.random((count, length))
    d = np.empty_like(a)

    def numpy() -> None:
        for i in range(count):
            np.fft.fft(a[i], out=d[i])

    def stateless() -> None:
        for i in range(count):
            d[i] = fft(a[i])

    def planned(tuning: bool) -> FFT:
        operation = FFT(a[0], options={"tuning": tuning})
        operation.plan()
        return operation

    def stateful() -> None:
        with planned(tuning=False) as operation:
            loop(operation)

    def loop(operation: FFT) -> None:
        for i in range(count):
            operation.reset_operand(a[i])
            operation.execute(out=d[i])

    def tune() -> FFT:
        operation = planned(tuning=True)
        operation.autotune(iterations=5)
        return operation

    return Ways(f"FFT of {length}, complex128; {count} times", numpy, stateless, stateful, tune, loop)  # type: ignore[arg-type]


def best_of(calls: Sequence[Callable[[], object]], rounds: int = 3, repeats: int = 3) -> list[float]:
    """Seconds that each call takes at best; they take turns, so that a slow moment does not fall on one alone."""
    best = [float("inf")] * len(calls)
    for _ in range(rounds):
        for place, call in enumerate(calls):
            time.sleep(SETTLE)
            call()
            for _ in range(repeats):
                with stopwatch() as clock:
                    call()
                best[place] = min(best[place], clock.seconds)
    return best


# Talking.


class Elapsed:
    """Seconds that a `stopwatch` measured; as text, with their unit."""

    seconds = 0.0

    def __str__(self) -> str:
        return format_seconds(self.seconds)


@contextmanager
def stopwatch() -> Iterator[Elapsed]:
    """How long the block took, readable after it."""
    elapsed, start = Elapsed(), time.perf_counter()
    yield elapsed
    elapsed.seconds = time.perf_counter() - start


def heading(text: str) -> None:
    say(f"\n{text}\n{'=' * len(text)}")


def say(text: str) -> None:
    print(text, flush=True)
