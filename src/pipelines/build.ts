// The pipeline of --version.

import { readBuild as readOwnBuild } from '../kernel/report/build.ts'
import type { Build } from '../report/build.ts'

export const readBuild = (): Promise<Build> => readOwnBuild()
