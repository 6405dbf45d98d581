"""Losses for TensorBoard never keep a run from training."""

import logging

import pytest

from attention_jax.running.tensorboard import Losses

pytest.importorskip("tensorboardX")


def test_a_full_disk_is_said_once_and_waited_for_by_nobody(tmp_path, caplog):
    losses = Losses(tmp_path, 0)
    losses.writer._py_recordio_writer._writer.close()
    with open("/dev/full", "wb", buffering=0) as full, caplog.at_level(logging.WARNING):
        losses.writer._py_recordio_writer._writer = full
        for update in range(200):
            losses.add(update, {"loss/seed_0": 1.0})
        losses.close()
    assert caplog.text.count("No space left on device") == 1


def test_a_folder_that_cannot_be_made(tmp_path, caplog):
    (tmp_path / "events").write_text("")
    losses = Losses(tmp_path / "events", 3)
    losses.add(4, {"loss": 1.0})
    losses.close()
    assert caplog.text.count("training goes on without") == 1
