"""Settings of images, speech and other arrays of numbers; see `attention_jax/config/__init__.py`."""

from dataclasses import dataclass

from attention_jax.config.rules import PARTS, SIZE, number, numbers


@dataclass(frozen=True)
class SignalConfig:
    """Settings of images and other real-valued sources; ignored by synthetic tasks and text."""

    height: int = number(64, least=1, most=SIZE)  # of a canvas in pixels; own_images: images are brought to it
    widths: tuple[int, ...] = numbers((256,), least=1, most=SIZE, ascending=True)  # of a canvas: the first is trained, all are tested
    patch: int = number(4, least=1, most=SIZE)  # rows and columns of pixels that are one position
    smallest: int = number(18, least=4, most=SIZE)  # sizes of digits in pixels, both ends included
    largest: int = number(25, least=4, most=SIZE)
    clutter: int = number(16, least=0, most=PARTS)  # fragments of other digits on a canvas of the trained width; on others as many by area
    order: str = "left"  # digits: row of digits.ORDERS: left (to right), size, query
    folder: str = ""  # own_…: folder of train.tsv, validation.tsv, test.tsv and what they name; empty: --data_dir
    features: int = number(0, least=0, most=SIZE)  # own_frames: F, how many numbers there are at each time
    rate: int = number(8000, least=8000, most=48000)  # own_speech: samples a second that recordings are brought to; spoken_digits have 8000
    mels: int = number(24, least=1, most=PARTS)  # own_speech, spoken_digits: log-mel features of a frame of 10 ms
    stacked: int = number(4, least=1, most=PARTS)  # own_speech, spoken_digits: frames that are one position
    silence: int = number(20, least=0, most=PARTS)  # spoken_digits: most frames of further silence in a gap
    dark: bool = False  # every source is zeros, in training and evaluation: what an arm learns of targets without their sources

    def contradictions(self) -> list[tuple[bool, str]]:
        """Lists (True where a rule is broken, what to say) of every rule between settings."""
        return [
            (self.smallest > self.largest, f"signal.smallest={self.smallest} is above signal.largest={self.largest}"),
            (self.largest > self.height, f"signal.largest={self.largest} does not fit signal.height={self.height}"),
            (
                any(size % self.patch for size in (self.height, *self.widths)),
                f"signal.patch={self.patch} must divide signal.height={self.height} and all of signal.widths={self.widths}",
            ),
        ]
