import numpy as np
import pytest

from xcoreg.core.models.bspline import assemble, factorise, make_lattice, quadratic, trace_product


def dense(matrix):
    """Write a block matrix out."""
    count, _, b = matrix.shape
    out = np.zeros((count * b, count * b))
    for j, block in enumerate(matrix):
        out[j * b : (j + 2) * b, j * b : (j + 1) * b] = block[: min(2, count - j) * b]
    return np.tril(out) + np.tril(out, -1).T


def system(k, n=200):
    """Normal equations of n points, with as many dense ones."""
    rng = np.random.default_rng(k)
    u, v = rng.uniform(-1, 1, n), rng.uniform(-0.5, 0.5, n)
    lattice = make_lattice(u, v, 0.25, 0.1)
    splines, values = lattice.support(u, v)
    half = rng.normal(size=(n, k, k))
    precision = half @ half.transpose(0, 2, 1) + np.eye(k)
    b = 3 * lattice.shape[1] * k
    matrix = assemble((lattice.shape[0] // 3, 2 * b, b), splines, values, precision)
    matrix[:, np.arange(b), np.arange(b)] += 0.1
    design = np.zeros((n, k, lattice.shape[0] * lattice.shape[1], k))
    for c in range(k):
        design[np.arange(n)[:, None], c, splines, c] = values
    return matrix, design.reshape(n, k, -1), precision, splines, values


@pytest.mark.parametrize("k", [1, 2, 3])
def test_assembled_solved_and_inverted_like_a_dense_matrix(k):
    matrix, design, precision, splines, values = system(k)
    whole = np.einsum("nai,nab,nbj->ij", design, precision, design) + 0.1 * np.eye(design.shape[2])
    assert np.allclose(dense(matrix), whole)
    factor = factorise(matrix)
    right = np.random.default_rng(0).normal(size=len(whole))
    assert np.allclose(factor.solve(right), np.linalg.solve(whole, right))
    spread = np.einsum("nai,ij,nbj->nab", design, np.linalg.inv(whole), design)
    assert np.allclose(quadratic(factor.covariance(), splines, values, k), spread)


def test_trace_of_a_product():
    matrix, *_ = system(1)
    other, *_ = system(1, n=90)
    lower = other.copy()
    b = lower.shape[2]
    lower[:, :b] = np.tril(lower[:, :b])
    inverse = np.linalg.inv(dense(matrix))
    assert trace_product(factorise(matrix).covariance(), lower) == pytest.approx(np.trace(inverse @ dense(other)))


def test_a_matrix_that_is_not_positive_definite_is_an_error():
    matrix, *_ = system(1)
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        factorise(-matrix)
