export { decodePng, pngSize, type DecodedImage } from './decode'
export { encodePng } from './encode'
export { readTexts } from './text'
