"""The threads of BLAS: one while it is asked for, then what there were."""

from __future__ import annotations

import threading

import jax.numpy as jnp

from jaxglmm import blas


def counts() -> list[int]:
    return [library["num_threads"] for library in blas._controller().info()]


def test_threads_are_put_back_by_the_first_to_come() -> None:
    jnp.zeros(1)  # JAX has loaded the library that it calls
    before = counts()
    assert before
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with blas.one_thread():
            entered.set()
            leave.wait(30.0)

    worker = threading.Thread(target=other)
    with blas.one_thread():
        assert set(counts()) == {1}
        worker.start()
        assert entered.wait(30.0)
    assert counts() == before
    leave.set()
    worker.join()
    assert counts() == before
    with blas.one_thread(), blas.one_thread():
        assert set(counts()) == {1}
    assert counts() == before


def test_threads_are_put_back_after_an_error() -> None:
    before = counts()
    try:
        with blas.one_thread():
            raise ValueError
    except ValueError:
        assert counts() == before
