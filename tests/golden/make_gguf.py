# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/gguf/: quants.gguf (random blocks of each quantised type beside what gguf-py makes of them) and
meta.gguf (metadata of every value type). Needs `pip install gguf numpy`; run from the repository root."""
from importlib.metadata import version

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFWriter, quants

OUT = "tests/golden/gguf/"
SCALES_AT = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q4_K: [0, 2], T.Q5_K: [0, 2],
    T.Q6_K: [208]}


def write(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_quants():
    rng = np.random.default_rng(7)
    w = GGUFWriter(OUT + "quants.gguf", "none")
    w.add_string("source", "random blocks; the *.expected tensors come from gguf-py " + version("gguf"))
    for t, places in SCALES_AT.items():
        elements, size = gguf.GGML_QUANT_SIZES[t]
        rows, columns = 2, 256
        n = rows * columns // elements
        blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
        for p in places:
            scales = (rng.standard_normal(n) * 0.01).astype(np.float16)
            scales[0] = np.float16(6e-8)  # a subnormal half
            blocks[:, p:p + 2] = scales.view(np.uint8).reshape(n, 2)
        blocks = blocks.reshape(rows, columns // elements * size)
        expected = quants.dequantize(blocks, t).astype(np.float32)
        assert expected.shape == (rows, columns) and np.isfinite(expected).all()
        w.add_tensor(t.name, blocks, raw_dtype=t)
        w.add_tensor(t.name + ".expected", expected)
    x = rng.standard_normal((3, 8)).astype(np.float32)
    w.add_tensor("F16", x.astype(np.float16))
    w.add_tensor("F16.expected", x.astype(np.float16).astype(np.float32))
    b = quants.quantize(x, T.BF16)
    w.add_tensor("BF16", b, raw_dtype=T.BF16)
    w.add_tensor("BF16.expected", quants.dequantize(b, T.BF16).astype(np.float32))
    write(w)


def write_meta():
    w = GGUFWriter(OUT + "meta.gguf", "none")
    w.add_uint8("u8", 200)
    w.add_int8("i8", -100)
    w.add_uint16("u16", 60000)
    w.add_int16("i16", -30000)
    w.add_uint32("u32", 4000000000)
    w.add_int32("i32", -2000000000)
    w.add_float32("f32", 0.1)
    w.add_bool("yes", True)
    w.add_bool("no", False)
    w.add_uint64("u64", 2**53)
    w.add_int64("i64", -2**53)
    w.add_float64("f64", 0.1)
    w.add_string("text", "caf\u00e9\0tail")
    w.add_array("strings", [f"s{i}" * (i % 5) for i in range(1, 40)])
    w.add_array("ints", list(range(-5, 20)))
    w.add_array("floats", [0.5, -1.25, 3.0])
    w.add_array("bools", [True, False, True])
    w.add_tensor("one", np.arange(4, dtype=np.float32))
    write(w)


write_quants()
write_meta()
