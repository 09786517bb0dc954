"""The audio stage: a playable WAV with one short phrase of tones per segment of the script.

A stand-in for speech that costs no model: a segment's words decide its length, its text the
melody. Owns the sound format (8 kHz, 16 bit, mono, under 200 KB). Knows no files.
"""

import io
import math
import struct
import wave

from .stages import PRICE_SPEECH, Product, Tick, digest, fit, spoken, tokens

RATE = 8000
NOTES_PER_SEGMENT = 5
SECONDS_MAX = 11.0  # 176 KB; whatever the script's length
SECONDS_PER_WORD = 0.022
PEAK = 0.7
# A pentatonic scale from A3, so that any order of notes sounds fair.
SCALE_HZ = (220.0, 247.5, 277.2, 330.0, 371.3, 440.0, 495.0, 554.4)


def audio(segments: list[dict], tick: Tick) -> tuple[Product, bytes]:
    """Plays `segments` (`title`, `text`) and returns what it made and the WAV file's bytes."""
    lengths = [len(spoken(segment["text"]).split()) * SECONDS_PER_WORD for segment in segments]
    scale = min(1.0, SECONDS_MAX / max(sum(lengths), 0.001))
    samples: list[int] = []
    marks = []
    for index, (segment, length) in enumerate(zip(segments, lengths, strict=True)):
        marks.append({"title": segment["title"], "starts_at": round(len(samples) / RATE, 2)})
        samples += phrase(segment["text"], length * scale)
        tick(index + 1, len(segments))
    text = " ".join(spoken(segment["text"]) for segment in segments)
    peak = max((abs(sample) for sample in samples), default=0) / 32767
    seconds = len(samples) / RATE
    document = {"seconds": round(seconds, 2), "peak": round(peak, 3), "segments": marks}
    quality = 10 * (
        0.4 * fit(peak, 0.5, 0.9, 0.5)
        + 0.3 * fit(seconds, 6.0, 12.0, 6.0)
        + 0.3 * evenness(lengths)
    )
    cost = round(len(text) / 1000 * PRICE_SPEECH, 4)
    product = Product(document, tokens(text), 0, cost, round(quality, 2))
    return product, wav(samples)


def phrase(text: str, seconds: float) -> list[int]:
    """`seconds` of notes that fade in and out; the text picks them."""
    seed = digest(text)
    count = max(1, int(seconds * RATE / NOTES_PER_SEGMENT))
    fade = max(1, count // 8)
    samples = []
    for note in range(NOTES_PER_SEGMENT):
        step = 2 * math.pi * SCALE_HZ[seed[note] % len(SCALE_HZ)] / RATE
        for n in range(count):
            envelope = min(1.0, n / fade, (count - n) / fade)
            samples.append(int(32767 * PEAK * envelope * math.sin(step * n)))
    return samples


def evenness(lengths: list[float]) -> float:
    """1 if all segments are equally long, 0 if they differ by as much as their mean."""
    if not lengths or sum(lengths) == 0:
        return 0.0
    mean = sum(lengths) / len(lengths)
    return max(0.0, 1.0 - sum(abs(length - mean) for length in lengths) / len(lengths) / mean)


def wav(samples: list[int]) -> bytes:
    """The samples as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return buffer.getvalue()
