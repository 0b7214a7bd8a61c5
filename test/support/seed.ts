// Property tests draw their cases from the seed of the run.

import fc from 'fast-check'
import { SEED } from './depth.ts'

fc.configureGlobal({ seed: SEED })
