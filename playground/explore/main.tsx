import { render } from 'preact'
import { takeKeyFromAddress } from '../session/key.ts'
import { App } from './app.tsx'

/** Starts the explorer. First moves a key from the address to the session storage, so that it does not stay visible. */
takeKeyFromAddress()
const root = document.getElementById('explorer')
if (root !== null) render(<App />, root)
