"""What `make release-check` finds without building anything."""

import pytest

from docs import release

CHANGES = "# Changelog\n\n## [Unreleased]\n{unreleased}\n## [{version}] - 2026-12-01\n\n- All of it.\n\n## [0.1.0]\n\n- Older.\n"


def tree(folder, version="0.2.0", cited="0.2.0", changed="0.2.0", unreleased=""):
    """The files of a project that say a version."""
    (folder / "setup.cfg").write_text(f"[metadata]\nversion = {version}\n")
    (folder / "CITATION.cff").write_text(f"version: {cited}\n")
    (folder / "CHANGELOG.md").write_text(CHANGES.format(version=changed, unreleased=unreleased))
    return folder


def test_one_version_everywhere_is_ready(tmp_path):
    assert release.versions(tree(tmp_path), "attention_jax-0.2.0-py3-none-any.whl") == []


@pytest.mark.parametrize(
    ("files", "wheel", "line"),
    [
        ({"cited": "0.1.0"}, "0.2.0", "CITATION.cff says version 0.1.0, setup.cfg 0.2.0"),
        ({"changed": "0.1.9"}, "0.2.0", "the newest section of CHANGELOG.md says version 0.1.9, setup.cfg 0.2.0"),
        ({}, "0.1.0", "the wheel says version 0.1.0, setup.cfg 0.2.0"),
        ({"unreleased": "\n- More.\n"}, "0.2.0", "CHANGELOG.md has entries under Unreleased"),
    ],
)
def test_each_place_that_says_another_version_is_named(files, wheel, line, tmp_path):
    assert release.versions(tree(tmp_path, **files), f"attention_jax-{wheel}-py3-none-any.whl") == [line]


def test_our_citation_is_whole():
    text = (release.ROOT / "CITATION.cff").read_text()
    assert release.citation(text) == []
    assert release.citation(text.replace("license:", "licence:")) == ["CITATION.cff has no license"]
