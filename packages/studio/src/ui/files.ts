/** Files in and out of the browser. */

export function readAsDataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader()
    reader.onload = () => resolve(reader.result as string)
    reader.onerror = () => reject(reader.error ?? new Error('The file cannot be read.'))
    reader.readAsDataURL(blob)
  })
}

/** Hands a file to the person. */
export function download(name: string, content: Blob | string): void {
  const blob = typeof content === 'string' ? new Blob([content], { type: 'application/json' }) : content
  const link = document.createElement('a')
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

/** A picture's pixels. */
export async function pixelsOf(blob: Blob): Promise<ImageData> {
  const bitmap = await createImageBitmap(blob)
  const { width, height } = bitmap
  const context = new OffscreenCanvas(width, height).getContext('2d')
  if (context === null) throw new Error('The browser has no canvas.')
  context.drawImage(bitmap, 0, 0)
  bitmap.close()
  return context.getImageData(0, 0, width, height)
}

/** Any picture that the browser reads as a PNG, which every server reads; a PNG stays as it is. */
export async function asPng(blob: Blob): Promise<{ url: string, width: number, height: number }> {
  const bitmap = await createImageBitmap(blob).catch(() => { throw new Error('The browser cannot read this picture.') })
  const { width, height } = bitmap
  if (blob.type === 'image/png') return { url: await readAsDataUrl(blob), width, height }
  const canvas = new OffscreenCanvas(width, height)
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0)
  return { url: await readAsDataUrl(await canvas.convertToBlob({ type: 'image/png' })), width, height }
}
