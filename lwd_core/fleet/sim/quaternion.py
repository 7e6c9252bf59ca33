"""One rotation matrix to one quaternion, without the cost of a library made for many."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def quaternion(matrix: Sequence[float]) -> npt.NDArray[np.float64]:
    """The unit quaternion (x, y, z, w) of an orthogonal matrix, given as 9 numbers row by row.

    Computed from the largest of the four components, so nothing small is divided by (Markley 2008).
    """
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix
    trace = m00 + m11 + m22
    largest = max(m00, m11, m22, trace)
    if largest == m00:
        q = (1 - trace + 2 * m00, m10 + m01, m20 + m02, m21 - m12)
    elif largest == m11:
        q = (m10 + m01, 1 - trace + 2 * m11, m21 + m12, m02 - m20)
    elif largest == m22:
        q = (m20 + m02, m21 + m12, 1 - trace + 2 * m22, m10 - m01)
    else:
        q = (m21 - m12, m02 - m20, m10 - m01, 1 + trace)
    x, y, z, w = q
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    return np.array((x / norm, y / norm, z / norm, w / norm))
