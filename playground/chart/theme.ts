import { useEffect, useState } from 'preact/hooks'

const DARK = '(prefers-color-scheme: dark)'

/** A hook whose value changes with the theme: the system setting, or a class that GraphiQL sets on the body. */
export function useTheme(): string {
  const [theme, setTheme] = useState(currentTheme)
  useEffect(() => {
    const update = (): void => setTheme(currentTheme())
    const media = matchMedia(DARK)
    media.addEventListener('change', update)
    const observer = new MutationObserver(update)
    observer.observe(document.body, { attributeFilter: ['class'] })
    return () => {
      media.removeEventListener('change', update)
      observer.disconnect()
    }
  }, [])
  return theme
}

function currentTheme(): string {
  return `${matchMedia(DARK).matches ? 'dark' : 'light'} ${document.body.className}`
}
