import { inflateSync } from 'node:zlib'

/** Most bytes that a compressed text may have. */
const maxText = 2 ** 20

/** The text chunks of a PNG (tEXt, zTXt, iTXt), by keyword; what is damaged is passed over. */
export function textsOfPng(png: Buffer): Map<string, string> {
  const texts = new Map<string, string>()
  for (let at = 8; at + 12 <= png.length;) {
    const length = png.readUInt32BE(at)
    const type = png.toString('latin1', at + 4, at + 8)
    const data = png.subarray(at + 8, at + 8 + length)
    const end = data.indexOf(0)
    if (data.length === length && end > 0 && end < 80) {
      const text = textOf(type, data.subarray(end + 1))
      if (text !== undefined) texts.set(data.toString('latin1', 0, end), text)
    }
    at += 12 + length
  }
  return texts
}

/** @param data what follows the keyword */
function textOf(type: string, data: Buffer): string | undefined {
  try {
    if (type === 'tEXt') return data.toString('latin1')
    if (type === 'zTXt') return inflateSync(data.subarray(1), { maxOutputLength: maxText }).toString('latin1')
    if (type !== 'iTXt') return undefined
    const language = data.indexOf(0, 2)
    const keyword = data.indexOf(0, language + 1)
    if (language < 0 || keyword < 0) return undefined
    const text = data.subarray(keyword + 1)
    return (data[0] === 1 ? inflateSync(text, { maxOutputLength: maxText }) : text).toString('utf8')
  } catch {
    return undefined
  }
}
