import os
import subprocess
import sys

import numpy as np
import pytest

from xcoreg.core.models.bspline import assemble, covariance_at, factorise, make_lattice, multiply, trace_product


def dense(matrix):
    """Write a block matrix out."""
    count, band, b, _ = matrix.shape
    out = np.zeros((count, b, count, b))
    for j in range(count):
        for d in range(min(band, count - j)):
            out[j + d, :, j] = matrix[j, d]
    out = out.reshape(count * b, count * b)
    return np.tril(out) + np.tril(out, -1).T


def system(k, n=200):
    """Normal equations of n points, with as many dense ones."""
    rng = np.random.default_rng(k)
    u, v = rng.uniform(-1, 1, n), rng.uniform(-0.5, 0.5, n)
    lattice = make_lattice(u, v, 0.25, 0.1)
    splines, values = lattice.support(u, v)
    half = rng.normal(size=(n, k, k))
    precision = half @ half.transpose(0, 2, 1) + np.eye(k)
    rows, b = lattice.shape
    products = {(c, d): multiply(splines, values, b, k, (c, d)) for c in range(k) for d in range(c + 1)}
    matrix = sum(assemble(rows, b, k, one, precision[:, c, d]) for (c, d), one in products.items())
    matrix[:, 0, np.arange(b), np.arange(b)] += 0.1
    design = np.zeros((n, k, rows, k, b))
    row, col = np.divmod(splines, b)
    for c in range(k):
        design[np.arange(n)[:, None], c, row, c, col] = values
    return matrix, design.reshape(n, k, -1), precision, products


@pytest.mark.parametrize("k", [1, 2, 3])
def test_assembled_solved_and_inverted_like_a_dense_matrix(k):
    matrix, design, precision, products = system(k)
    whole = np.einsum("nai,nab,nbj->ij", design, precision, design) + 0.1 * np.eye(design.shape[2])
    assert np.allclose(dense(matrix), whole)
    factor = factorise(matrix)
    right = np.random.default_rng(0).normal(size=len(whole))
    assert np.allclose(factor.solve(right), np.linalg.solve(whole, right))
    spread = np.einsum("nai,ij,nbj->nab", design, np.linalg.inv(whole), design)
    covariance = factor.covariance()
    for (c, d), one in products.items():
        assert np.allclose(covariance_at(covariance, one), spread[:, c, d])


def test_trace_of_a_product():
    matrix, *_ = system(1)
    other, *_ = system(1, n=90)
    lower = other.copy()
    lower[:, 0] = np.tril(lower[:, 0])
    inverse = np.linalg.inv(dense(matrix))
    assert trace_product(factorise(matrix).covariance(), lower) == pytest.approx(np.trace(inverse @ dense(other)))


def test_a_matrix_that_is_not_positive_definite_is_an_error():
    matrix, *_ = system(1)
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        factorise(-matrix)


_DIGEST = """
import hashlib, numpy as np
from xcoreg.core.models.bspline import factorise
matrix = 0.01 * np.random.default_rng(0).normal(size=(12, 4, 60, 60))
matrix[:, 0] += 10 * np.eye(60)
factor = factorise(matrix)
print(hashlib.sha256(factor.covariance().tobytes() + factor.solve(np.ones(720)).tobytes()).hexdigest())
"""


def test_no_digit_depends_on_the_number_of_threads():
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    digests = set()
    for count in ("1", "4"):
        env = os.environ | dict.fromkeys(names, count)
        run = subprocess.run([sys.executable, "-c", _DIGEST], env=env, capture_output=True, text=True, check=True)
        digests.add(run.stdout)
    assert len(digests) == 1
