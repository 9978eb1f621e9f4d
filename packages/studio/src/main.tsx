import { render } from 'preact'
import { App } from './app'
import { begin } from './start'
import './style/base.css'
import './style/layout.css'
import './style/plan.css'
import './style/tables.css'

const root = document.getElementById('studio')
if (root !== null) {
  render(<App />, root)
  begin()
}
