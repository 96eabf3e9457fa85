import { render } from 'preact'
import { takeKeyFromAddress } from '../session/key.ts'
import { App } from './app.tsx'

/** Starts the explorer. The key leaves the address before anything else happens. */
takeKeyFromAddress()
const root = document.getElementById('explorer')
if (root !== null) render(<App />, root)
