"""Writes tests/fixtures/innvestigate.npz: two of the eight samples of iNNvestigate's own stored references.

Run it with a Python that has numpy, from the repository's root, on a folder with one npz file an analyzer:

    python xtask/python/innvestigate_fixtures.py FOLDER

What the files and the fixture hold is said in tests/fixtures/innvestigate.md.
"""

import pathlib
import sys

import numpy

FIXTURE = pathlib.Path("tests/fixtures/innvestigate.npz")
SAMPLES = 2
WEIGHTED = ["Dense", "Dense_relu", "Conv2D", "Conv2D_relu"]
POOLS = ["AveragePooling2D", "MaxPooling2D"]


def main():
    files = {path.stem: numpy.load(path) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.npz"))}
    first = next(iter(files.values()))
    for file in files.values():
        # All have the same input and no bias, so that these are left out. Each has weights of its own.
        assert numpy.array_equal(file["input"], first["input"])
        assert not any(file[f"{layer}.weight1"].any() for layer in WEIGHTED)
        assert all(numpy.array_equal(file[f"{layer}.output"], first[f"{layer}.output"]) for layer in POOLS)

    def stacked(key, rows=None):
        return numpy.stack([file[key][:rows] for file in files.values()])

    # The names are bytes, because not every reader of npz files has strings.
    arrays = {
        "analyzers": numpy.frombuffer("\n".join(files).encode(), numpy.uint8),
        "input": first["input"][:SAMPLES],
    }
    for layer in WEIGHTED:
        arrays[f"{layer}.weight"] = stacked(f"{layer}.weight0")
        arrays[f"{layer}.output"] = stacked(f"{layer}.output", SAMPLES)
    for layer in POOLS:
        arrays[f"{layer}.output"] = first[f"{layer}.output"][:SAMPLES]
    for layer in WEIGHTED + POOLS:
        arrays[f"{layer}.attribution"] = stacked(f"{layer}.attribution", SAMPLES)
    numpy.savez_compressed(FIXTURE, **arrays)


if __name__ == "__main__":
    main()
