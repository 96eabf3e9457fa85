import { build } from 'rolldown'

/**
 * Writes the modules for browsers into FOLDER, each as one small file: `node scripts/build-client.mjs FOLDER`. The
 * compiler writes their types.
 */
const [, , folder] = process.argv
if (folder === undefined) throw new Error('name the folder for the modules')
for (const name of ['tracker', 'live']) {
  await build({
    input: `client/${name}.ts`,
    platform: 'neutral',
    logLevel: 'warn',
    output: { file: `${folder}/${name}.js`, format: 'es', minify: true, comments: false },
  })
}
