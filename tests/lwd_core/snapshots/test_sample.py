import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

from lwd_core.snapshots.sample import decode, encode

ARRAYS = st.sampled_from([np.float32, np.int32, np.int64, np.bool_]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
)


@given(st.dictionaries(st.text(min_size=1, max_size=5), ARRAYS, max_size=5))
def test_comes_back_and_is_a_safetensors_file(tensors: dict[str, np.ndarray]):
    data = encode(tensors)
    assert encode(dict(reversed(tensors.items()))) == data
    for found in (decode(memoryview(data)), load(data)):
        assert found.keys() == tensors.keys()
        for name, values in tensors.items():
            np.testing.assert_array_equal(found[name], values, strict=True)


@given(st.binary(max_size=60))
def test_other_bytes_are_refused_not_misread(data: bytes):
    try:
        decode(memoryview(data))
    except ValueError:
        return
    assert data[8:10] == b"{}"


def test_a_cut_sample_is_refused():
    data = encode({"x": np.zeros(100, np.float32)})
    with pytest.raises(ValueError):
        decode(memoryview(data)[:-40])
