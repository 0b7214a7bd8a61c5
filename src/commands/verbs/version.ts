// xdp --version

import { readBuild } from '../../pipelines/build.ts'
import { renderVersion, renderVersionJson } from '../../render/version.ts'

export async function describeVersion(version: string, json: boolean): Promise<string> {
  const build = await readBuild()
  return json ? renderVersionJson(version, build) : renderVersion(version, build)
}
