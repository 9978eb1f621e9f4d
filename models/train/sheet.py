"""Pictures in rows, as a PNG."""
from pathlib import Path

import numpy as np
from PIL import Image


def save_sheet(file: Path, rows: list[np.ndarray], scale: int = 2) -> None:
    """Writes rows of pictures [N,H,W,3] uint8 below each other, `scale` times as large; short rows are filled with white."""
    longest = max(len(row) for row in rows)
    lines = []
    for row in rows:
        full = np.full((longest, *row.shape[1:]), 255, dtype=np.uint8)
        full[:len(row)] = row
        lines.append(np.concatenate(list(full), axis=1))
    sheet = Image.fromarray(np.concatenate(lines, axis=0))
    sheet.resize((sheet.width * scale, sheet.height * scale), Image.NEAREST).save(file)
