/** What models without true drawings are evaluated with where no prompts are given: plain things of several kinds, all of them. */
export const defaultPrompts: readonly string[] = [
  'a red apple', 'a rocket', 'an octopus', 'a slice of pizza', 'a golden crown', 'a fir tree', 'a cat sitting on a chair', 'a smiling face',
  'a bowl of strawberries on a wooden table', 'a lighthouse by the sea at sunset', 'an old bicycle leaning against a wall', 'a castle on a hill in winter',
  'a portrait of an old man with a beard', 'a blue vase with yellow flowers', 'a street in the rain at night', 'a steam train crossing a bridge',
]
