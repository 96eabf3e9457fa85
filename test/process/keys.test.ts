import { expect, it } from 'vitest'
import { runChild } from '../support/child-gateway.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { describeKeys } from './keys.ts'

describeKeys('the embedded store', async () => ({ DATA_DIR: await temporaryFolder() }))

it('the command prints its usage, and a note when API_KEYS is set', async () => {
  const DATA_DIR = await temporaryFolder()
  expect(await runChild({ DATA_DIR }, ['keys', 'crate'])).toMatchObject({
    code: 1,
    output: '',
    errors: expect.stringMatching(/create, list or revoke[\s\S]*Usage: npm run keys/),
  })
  const given = await runChild({ DATA_DIR, API_KEYS: 'hush-hush-42:shop:query' }, ['keys', 'list'])
  expect(given).toMatchObject({ code: 0, output: 'There are no keys.\n' })
  expect(given.errors).toMatch(/^API_KEYS is set/)
})
