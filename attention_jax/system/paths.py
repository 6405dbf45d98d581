"""Flags that are paths."""

import os
import re

from absl import flags

flags.disclaim_key_flags()  # a flag is of the program that defines it here, and in its --help


class Path(flags.ArgumentParser):
    """A path: ~ is one's home, as a shell has it where a word begins with it; orbax and TensorFlow Datasets know none but UTF-8."""

    def parse(self, argument: str) -> str:
        """Returns the path as text."""
        if re.search("[\ud800-\udfff]", argument):
            raise ValueError("a path must be UTF-8")
        return os.path.expanduser(argument)


class Lists(Path):
    """Several paths, with commas between."""

    def parse(self, argument: str) -> str:
        """Returns the paths as text."""
        return ",".join(map(super().parse, argument.split(",")))


def define(name: str, default: str | None, text: str) -> flags.FlagHolder:
    """Defines a flag that is a path."""
    return flags.DEFINE(Path(), name, default, text, serializer=flags.ArgumentSerializer())


def define_several(name: str, default: list[str], text: str, kind: type[Path] = Path) -> flags.FlagHolder:
    """Defines a flag that is a path, or several, and can be repeated."""
    return flags.DEFINE_multi(kind(), flags.ArgumentSerializer(), name, default, text)
