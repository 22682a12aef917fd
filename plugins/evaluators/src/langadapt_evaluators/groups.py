"""A test that shares no text with what is learnt from."""

from __future__ import annotations

import numpy as np

from langadapt.contracts.reading import held_out, stable_hash


def held_out_rows(rows: list[tuple[str, ...]], share: float) -> list[bool]:
    """(n,) which rows are the test: of single texts by the text, of pairs by connected components of shared texts.

    Components come in an order that their texts alone decide, and are taken while they fit into `share` of the rows: a component that is
    larger by itself is for learning.
    """
    if all(len(texts) == 1 for texts in rows):
        return [held_out(texts[0], share) for texts in rows]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    places: dict[str, int] = {}
    ends = np.array([[places.setdefault(text, len(places)) for text in (texts[0], texts[-1])] for texts in rows])
    edges = coo_array((np.ones(len(rows)), (ends[:, 0], ends[:, 1])), shape=(len(places), len(places)))
    groups = connected_components(edges, directed=False)[1]
    names: dict[int, str] = {}
    for text, place in places.items():
        names[groups[place]] = min(text, names.get(groups[place], text))
    of_row = groups[ends[:, 0]]
    sizes = np.bincount(of_row, minlength=len(names))
    taken: set[int] = set()
    left = int(share * len(rows))
    for group in sorted(names, key=lambda group: stable_hash(names[group])):
        if sizes[group] <= left:
            taken.add(group)
            left -= int(sizes[group])
    return [group in taken for group in of_row.tolist()]
