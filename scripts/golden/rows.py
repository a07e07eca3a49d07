"""Parquet files as pyarrow writes them: texts, numbers, lists, chats and images, in several compressions.

    python scripts/golden/rows.py   # needs pyarrow and pillow

Writes apps/cli/test/golden/rows-*.parquet.
"""
import io, pathlib
import pyarrow as pa, pyarrow.parquet as pq
from PIL import Image

out = pathlib.Path(__file__).parents[2] / "apps/cli/test/golden"


def image(kind, colour):
    data = io.BytesIO()
    Image.new("RGB", (5, 4), colour).save(data, kind, quality=95)
    return dict(bytes=data.getvalue(), path=None)


table = pa.table({
    "text": ["one", "zwölf"],
    "label": [0, 1],
    "tokens": [["a", "b"], ["c"]],
    "tags": [[1, 2], [0]],
    "messages": [[dict(role="user", content="hi"), dict(role="assistant", content="ho")]] * 2,
    "image": [image("PNG", (10, 200, 30)), image("JPEG", (200, 10, 30))],
})
for compression in ("snappy", "zstd", "gzip"):
    pq.write_table(table, out / f"rows-{compression}.parquet", compression=compression, row_group_size=1)
