#!/usr/bin/env bash
# Pillow fills the strips that a sparse GeoTIFF leaves out with the bytes of the file's own header.
#
# Pillow 13.0.0; the file is written by rasterio 1.4.4 (GDAL) with SPARSE_OK, which gives a strip of nothing but 0 the
# offset 0 and the length 0. GDAL reads such a strip as 0 (or nodata). Pillow, without a word, reads the pixels at
# offset 0: "II*", that is 73, 73, 42, and the offset of the directory. Seen:
#
#     rasterio 7 0 0 0
#     Pillow 7 73 73 73
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 rasterio==1.4.4 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PY'
import numpy as np
import rasterio
from PIL import Image
from rasterio.windows import Window

with rasterio.open("a.tif", "w", driver="GTiff", width=64, height=64, count=1, dtype="uint8", SPARSE_OK=True, blockysize=16) as file:
    file.write(np.full((1, 16, 64), 7, np.uint8), window=Window(0, 0, 64, 16))
with rasterio.open("a.tif") as file:
    gdal = file.read(1)
pillow = np.asarray(Image.open("a.tif"))
print("rasterio", *gdal[::16, 0])
print("Pillow", *pillow[::16, 0])
assert gdal[::16, 0].tolist() == [7, 0, 0, 0]
assert pillow[::16, 0].tolist() == [7, 73, 73, 73]
assert bytes(pillow[16, :4]) == b"II*\0"
PY
