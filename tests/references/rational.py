"""What is the Kalman filter's answer, without any rounding?

    x_t+1 = A_t x_t + b_t + w_t,   w_t ~ N(0, Q_t),   x_0 ~ N(m, P)
    y_t   = C_t x   + d_t + v_t,   v_t ~ N(0, R_t),   x = x_t (emission first) or x_t+1 (transition first)

for t = 0..T-1: the recursion of Kalman (1960) in `fractions.Fraction`; matrices are lists of rows. A float is
a fraction (its binary value), so floats enter exactly. Innovations v_t and their covariances S_t are exact;
only

    log p(y_t | y_1:t-1) = -(n log 2 pi + log det S_t + v_t' S_t^-1 v_t) / 2

is rounded, after 50 digits. So it is right where floating point loses everything: wide priors with small
noise, P = 0, singular Q. A scalar system is one of 1 x 1 matrices. Fractions grow with every step: use it for
tens of steps, not thousands.
"""

import decimal
from fractions import Fraction
from typing import Any, NamedTuple

type Vector = list[Fraction]
type Matrix = list[list[Fraction]]

_DIGITS = decimal.Context(prec=50, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
_PI = decimal.Decimal("3.14159265358979323846264338327950288419716939937510582097494")


class RationalBeliefs(NamedTuple):
    """Exact beliefs about the state that emits observation t, as lists over time.

    v_t and S_t have the present components only: they are empty where nothing was seen.
    """

    predicted_mean: list[Vector]  # of p(x_t | y_1:t-1)
    predicted_covariance: list[Matrix]
    filtered_mean: list[Vector]  # of p(x_t | y_1:t)
    filtered_covariance: list[Matrix]
    innovation: list[Vector]  # v_t, the present components of y_t minus their prediction
    innovation_covariance: list[Matrix]  # S_t
    determinant: list[Fraction]  # det S_t; 1 where nothing was seen
    quadratic: list[Fraction]  # v_t' S_t^-1 v_t
    log_predictive: list[float]  # log p(y_t | y_1:t-1), nats, correctly rounded; 0 where nothing was seen
    log_evidence: float  # log p(y_1:T), nats, correctly rounded


def exact(value: Any) -> Any:
    """Numbers, arrays and nested sequences of numbers as nested lists of fractions; NaN becomes None."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, list | tuple):
        return [exact(part) for part in plain]
    return None if plain is None or plain != plain else Fraction(plain)


def floats(value: Any) -> Any:
    """The nearest float of every fraction in nested lists."""
    return [floats(part) for part in value] if isinstance(value, list) else float(value)


def multiply(left: Matrix, right: Matrix) -> Matrix:
    """The product of two matrices."""
    return [apply(transpose(right), row) for row in left]


def apply(matrix: Matrix, vector: Vector) -> Vector:
    """A matrix times a vector."""
    return [sum((a * x for a, x in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


def add(left: Matrix, right: Matrix, sign: int = 1) -> Matrix:
    """left + sign * right."""
    return [[a + sign * b for a, b in zip(*rows, strict=True)] for rows in zip(left, right, strict=True)]


def transpose(matrix: Matrix) -> Matrix:
    """Rows become columns."""
    return [list(column) for column in zip(*matrix, strict=True)]


def invert(matrix: Matrix) -> tuple[Matrix, Fraction]:
    """Inverse and determinant by Gauss-Jordan elimination. Raises ZeroDivisionError for a singular matrix."""
    size = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(matrix)]
    determinant = Fraction(1)
    for i in range(size):
        pivot = next((r for r in range(i, size) if rows[r][i] != 0), None)
        if pivot is None:
            raise ZeroDivisionError("the matrix is singular")
        if pivot != i:
            rows[i], rows[pivot] = rows[pivot], rows[i]
            determinant = -determinant
        determinant *= rows[i][i]
        rows[i] = [entry / rows[i][i] for entry in rows[i]]
        for r in range(size):
            if r != i:
                rows[r] = [entry - rows[r][i] * top for entry, top in zip(rows[r], rows[i], strict=True)]
    return [row[size:] for row in rows], determinant


def kalman_filter(
    observations: Any,
    *,
    initial_mean: Any,
    initial_covariance: Any,
    A: Any,
    b: Any,
    Q: Any,
    C: Any,
    d: Any,
    R: Any,
    emission_first: bool,
) -> RationalBeliefs:
    """Filter in exact arithmetic.

    Observations are (time, dim_y), with NaN or None for each missing component; A, b, Q, C, d, R have one
    entry for each step, time first (`[A] * T` where they do not change). Raises ZeroDivisionError where an
    observation has no density (S_t is singular, as with R = 0 and a known state).
    """
    A, b, Q, C, d, R, mean, covariance = map(exact, (A, b, Q, C, d, R, initial_mean, initial_covariance))

    def move(t: int, mean: Vector, covariance: Matrix) -> tuple[Vector, Matrix]:
        moved = [m + offset for m, offset in zip(apply(A[t], mean), b[t], strict=True)]
        return moved, add(multiply(multiply(A[t], covariance), transpose(A[t])), Q[t])

    steps = []
    for t, y in enumerate(exact(observations)):
        if not emission_first:
            mean, covariance = move(t, mean, covariance)
        predicted = mean, covariance
        seen = [i for i, value in enumerate(y) if value is not None]
        innovation, S, determinant, quadratic = [], [], Fraction(1), Fraction(0)
        if seen:
            rows = [C[t][i] for i in seen]
            expected = apply(rows, mean)
            innovation = [y[i] - d[t][i] - e for i, e in zip(seen, expected, strict=True)]
            cross = multiply(covariance, transpose(rows))
            S = add(multiply(rows, cross), [[R[t][i][j] for j in seen] for i in seen])
            inverse, determinant = invert(S)
            quadratic = sum((v * u for v, u in zip(innovation, apply(inverse, innovation), strict=True)), Fraction(0))
            gain = multiply(cross, inverse)
            mean = [m + change for m, change in zip(mean, apply(gain, innovation), strict=True)]
            covariance = add(covariance, multiply(gain, transpose(cross)), sign=-1)
        steps.append((*predicted, mean, covariance, innovation, S, determinant, quadratic))
        if emission_first:
            mean, covariance = move(t, mean, covariance)
    columns: list[Any] = [list(column) for column in zip(*steps, strict=True)]
    log_terms = [_log_density(len(step[4]), step[6], step[7]) for step in steps]
    total = decimal.Decimal(0)
    for term in log_terms:
        total = _DIGITS.add(total, term)
    return RationalBeliefs._make([*columns, [float(term) for term in log_terms], float(total)])


def _decimal(value: Fraction) -> decimal.Decimal:
    return _DIGITS.divide(decimal.Decimal(value.numerator), decimal.Decimal(value.denominator))


def _log_density(size: int, determinant: Fraction, quadratic: Fraction) -> decimal.Decimal:
    """-(n log 2 pi + log det S + v' S^-1 v) / 2 to 50 digits."""
    constant = _DIGITS.multiply(decimal.Decimal(size), _DIGITS.ln(_DIGITS.multiply(decimal.Decimal(2), _PI)))
    total = _DIGITS.add(_DIGITS.add(constant, _DIGITS.ln(_decimal(determinant))), _decimal(quadratic))
    return _DIGITS.divide(total, decimal.Decimal(-2))


class RationalSmoothed(NamedTuple):
    """Exact beliefs p(x_t | y_1:T) about the state that emits observation t, and cov(x_t, x_t+1 | y_1:T), as lists over time."""

    mean: list[Vector]
    covariance: list[Matrix]
    pairwise_covariance: list[Matrix]  # rows x_t; one fewer


def kalman_smoother(observations: Any, **system: Any) -> RationalSmoothed:
    """Smooth in exact arithmetic; arguments as of `kalman_filter`.

    The recursion of Bryson & Frazier (1963): with r_t and N_t the score of the later observations and its covariance,
    E[x_t | y] = m_t + P_t r_t and cov = P_t - P_t N_t P_t from the filtered m_t, P_t. It inverts nothing but S_t, so singular
    covariances of states are no special case; in floats it would cancel, in fractions it does not.
    """
    found = kalman_filter(observations, **system)
    A, C = exact(system["A"]), exact(system["C"])
    y, steps, size = exact(observations), len(observations), len(found.filtered_mean[0])
    score, information = [Fraction(0)] * size, [[Fraction(0)] * size for _ in range(size)]
    means, covariances, pairs = [], [], []
    for t in reversed(range(steps)):
        P = found.filtered_covariance[t]
        means.insert(0, [m + s for m, s in zip(found.filtered_mean[t], apply(P, score), strict=True)])
        covariances.insert(0, add(P, multiply(multiply(P, information), P), sign=-1))
        seen = [i for i, value in enumerate(y[t]) if value is not None]
        if seen:
            rows, S = [C[t][i] for i in seen], found.innovation_covariance[t]
            weights = multiply(transpose(rows), invert(S)[0])
            gain = multiply(found.predicted_covariance[t], weights)
            keep = add(_identity(size), multiply(gain, rows), sign=-1)
            score = [a + b for a, b in zip(
                apply(weights, found.innovation[t]), apply(transpose(keep), score), strict=True
            )]  # fmt: skip
            information = add(multiply(weights, rows), multiply(multiply(transpose(keep), information), keep))
        if t == 0:
            break
        move = A[t - 1] if system["emission_first"] else A[t]
        rest = add(_identity(size), multiply(information, found.predicted_covariance[t]), sign=-1)
        pairs.insert(0, multiply(multiply(found.filtered_covariance[t - 1], transpose(move)), rest))
        score = apply(transpose(move), score)
        information = multiply(multiply(transpose(move), information), move)
    return RationalSmoothed(means, covariances, pairs)


def _identity(size: int) -> Matrix:
    return [[Fraction(int(i == j)) for j in range(size)] for i in range(size)]
