import type { PageAssets } from './page-assets.ts'

/** Allows scripts, styles and requests of this gateway's origin only, no inline ones; pictures also in data URLs. */
export const EXPLORER_CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "connect-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/**
 * Writes the explorer's page. `modulepreload` links list all imported modules, so that browsers fetch them at the same
 * time.
 */
export function explorerPage(assets: PageAssets): string {
  const [main, ...imported] = assets.moduleUrlsOf('explore/main.js')
  const styles = ['styles/page.css', 'vendor/uplot.css', 'styles/chart.css', 'styles/explore.css']
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Explore · GaugeQL</title>
    <link rel="icon" href="${assets.urlOf('styles/logo.svg')}">
    ${styles.map((path) => `<link rel="stylesheet" href="${assets.urlOf(path)}">`).join('\n    ')}
    ${imported.map((url) => `<link rel="modulepreload" href="${url}">`).join('\n    ')}
    <script type="module" src="${main}"></script>
  </head>
  <body>
    <div id="explorer"></div>
    <noscript>The explorer needs JavaScript.</noscript>
  </body>
</html>
`
}
