"""What setup.cfg cannot say: experiments/ is installed as attention_jax.experiments. A folder of the user would hide the short name."""

from setuptools import find_packages, setup

INSIDE = "attention_jax.experiments"

setup(packages=[*find_packages(include=["attention_jax*"]), INSIDE], package_dir={INSIDE: "experiments"})
