"""Pictures prepared by transformers' own processor, which resizes with Pillow.

    python scripts/golden/images.py

Needs pillow. Writes packages/models/test/golden/images.json: a picture, and for every configuration the bytes after resizing
and the values that a model takes.
"""
import json, pathlib
import numpy, PIL
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

out = pathlib.Path(__file__).parents[2] / "packages/models/test/golden/images.json"
width, height = 13, 9
picture = numpy.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=numpy.uint8)
picture[2:7, 3:9] //= 200  # an edge, where filters overshoot
image = Image.fromarray(picture)
configs = [
    dict(size={"height": 4, "width": 5}),
    dict(size={"height": 12, "width": 13}, resample=3, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]),
    dict(size={"height": 5, "width": 21}, resample=1, do_normalize=False),
    dict(do_resize=False, do_rescale=False, image_mean=[100.0, 110.0, 120.0], image_std=[50.0, 60.0, 70.0]),
]


def case(config):
    processor = ViTImageProcessorPil(**config)
    values = processor(image, return_tensors="np")["pixel_values"][0]
    rows, columns = values.shape[1:]
    resized = numpy.asarray(image.resize((columns, rows), processor.resample))
    saved = {key: value for key, value in json.loads(processor.to_json_string()).items()}
    values = [float(f"{x:.7g}") for x in values.flatten().tolist()]
    return dict(config=saved, bytes=resized.flatten().tolist(), shape=[3, rows, columns], values=values)


golden = dict(made_with=f"Pillow {PIL.__version__}", width=width, height=height, pixels=picture.flatten().tolist(),
              cases=[case(config) for config in configs])
out.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
print(out.stat().st_size, "bytes")
