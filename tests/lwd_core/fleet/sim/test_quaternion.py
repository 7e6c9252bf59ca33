import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lwd_core.fleet.sim.quaternion import quaternion


@given(st.lists(st.floats(-4, 4), min_size=3, max_size=3))
def test_it_is_the_rotation_of_the_matrix(vector: list[float]) -> None:
    matrix = Rotation.from_rotvec(vector).as_matrix()
    found = quaternion(matrix.ravel().tolist())
    assert np.allclose(Rotation.from_quat(found).as_matrix(), matrix, atol=1e-12)
    assert np.allclose(found, Rotation.from_matrix(matrix).as_quat(), atol=1e-12)
