/** Line icons, 20 by 20. */
const paths = {
  create: 'M10 3v14M3 10h14',
  gallery: 'M3 4h14v12H3zM3 13l4-4 4 4 2-2 4 4M12.5 7.5h.01',
  plan: 'M3 4h4v4H3zM8 4h4v4H8zM13 4h4v4h-4zM3 12h4v4H3zM13 12h4v4h-4z',
  recipe: 'M4 3h12v5H4zM4 12h5v5H4zM12 12h4v5h-4zM10 8v4',
  profile: 'M3 17V9M8 17V4M13 17v-6M18 17V7',
  sun: 'M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6 16 16M4 16l1.4-1.4M14.6 5.4 16 4',
  moon: 'M16.5 12.5A7 7 0 0 1 7.5 3.5a7 7 0 1 0 9 9z',
  auto: 'M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14',
  dice: 'M4 4h12v12H4zM7.2 7.2h.01M12.8 7.2h.01M10 10h.01M7.2 12.8h.01M12.8 12.8h.01',
  lock: 'M5 9h10v8H5zM7 9V6.5a3 3 0 0 1 6 0V9',
  unlock: 'M5 9h10v8H5zM7 9V6a3 3 0 0 1 5.8-1',
  close: 'M5 5l10 10M15 5 5 15',
  download: 'M10 3v9M6 8.5l4 4 4-4M4 16.5h12',
  upload: 'M10 13V4M6 7.5l4-4 4 4M4 16.5h12',
  trash: 'M4 6h12M8 6V4h4v2M6 6l.7 11h6.6L14 6',
  again: 'M16 10a6 6 0 1 1-2-4.5M14.5 2.5v3.5H11',
  brush: 'M16.5 3.5 9 11M8 11.5c-2.5-.5-3.5 1.5-3.5 3S3 16.5 3 16.5c3 1 6.500 0 6.500-3z',
  compare: 'M3 4h14v12H3zM10 2v16M7.500 8 5.500 10l2 2M12.500 8l2 2-2 2',
  stop: 'M6 6h8v8H6z',
  chevron: 'M7 5l5 5-5 5',
  copy: 'M7 7h9v9H7zM4 13V4h9',
  swap: 'M3 7h12l-3-3M17 13H5l3 3',
} as const

export type IconName = keyof typeof paths

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" width="18" height="18" aria-hidden="true" fill="none" stroke="currentColor"
      stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round">
      <path d={paths[name]} />
    </svg>
  )
}
