"""Meshes as coarse as a picture can't tell.

A simulated arm is made of 68,000 triangles, and where the processor draws them they are nearly all that a
picture of 96 pixels costs: a fifth of them shows the same arm in less than half the time.
"""

import copy
from typing import Any

import numpy as np

#: Meshes of fewer triangles cost little, and small things are made of them.
FEW = 2_000


def coarsened(model: Any, cell: float) -> Any:
    """A copy of a MuJoCo model to draw by, with large meshes to no more than ``cell`` metres.

    Corners in one cube of that side become one of them; triangles that are none any more, or twice there, go.
    """
    coarse = copy.copy(model)
    for mesh in np.flatnonzero(model.mesh_facenum > FEW).tolist():
        begin, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        faces = slice(begin, begin + count)
        corners = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]]
        cubes = np.floor(corners / cell).astype(np.int64)
        _, first, cube = np.unique(cubes, axis=0, return_index=True, return_inverse=True)
        triangles = first[cube.reshape(-1)][model.mesh_face[faces]]
        ordered = np.sort(triangles, axis=1)
        _, once = np.unique(ordered, axis=0, return_index=True)
        kept = np.sort(once[(np.diff(ordered[once], axis=1) > 0).all(axis=1)])
        coarse.mesh_face[begin : begin + len(kept)] = triangles[kept]
        for of_corners in (coarse.mesh_facenormal, coarse.mesh_facetexcoord):
            of_corners[begin : begin + len(kept)] = of_corners[faces][kept]
        coarse.mesh_facenum[mesh] = len(kept)
    return coarse
