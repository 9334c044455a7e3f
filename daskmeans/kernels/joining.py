"""Which center to join another one with, at the least cost to the rows that both attract."""

from __future__ import annotations

from daskmeans.kernels.compile import kernel


@kernel
def cheapest_to_join(
    products,  # IN    (t, m) float32 or float64, of t centers with m others
    half_norms,  # IN    (t,) half of the squared length of each of the t
    weights,  # IN    (t,) of the rows that each attracts, positive
    other_half_norms,  # IN    (m,)
    other_weights,  # IN    (m,) positive
    own,  # IN    (t,) int64, place of each of the t among the others, or another number
    first,  # IN    number of the first of the others
    best,  # INOUT (t,) int64, number of the cheapest other so far
    costs,  # INOUT (t,) its cost, half of Ward's
):
    """Take m more centers into account: w v / (w + v) |a - b|^2 / 2 is what joining costs."""
    for i in range(products.shape[0]):
        lowest = costs[i]
        found = -1
        for j in range(products.shape[1]):
            half = half_norms[i] + other_half_norms[j] - products[i, j]
            cost = half * (weights[i] * other_weights[j] / (weights[i] + other_weights[j]))
            if cost < lowest and j != own[i]:
                lowest = cost
                found = j
        if found >= 0:
            costs[i] = lowest
            best[i] = first + found
