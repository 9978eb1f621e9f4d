/**
 * An icon of an Iconify set as an SVG document of `side` pixels. Sizes that an icon does not have are its set's, or 16, as Iconify defines.
 */
export function iconSvg(icon, set, side) {
  const { left = set.left ?? 0, top = set.top ?? 0, width = set.width ?? 16, height = set.height ?? 16 } = icon
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="${left} ${top} ${width} ${height}" `
    + `width="${side}" height="${side}">${icon.body}</svg>`
}

/**
 * Draws an icon on white, at twice the size and then scaled down, which smooths thin strokes.
 * @returns {Promise<Buffer>} side x side pixels of 3 bytes
 */
export async function drawIcon(sharp, icon, set, side) {
  const { data, info } = await sharp(
    Buffer.from(iconSvg(icon, set, 2 * side)),
  ).resize(side, side).flatten({ background: '#fff' }).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  if (info.channels !== 3 || info.width !== side || info.height !== side)
    throw new Error(`drawn with ${info.width}x${info.height} pixels of ${info.channels} channels`)
  return data
}
