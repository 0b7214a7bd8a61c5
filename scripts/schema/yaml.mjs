// Writes values as YAML on one line, quoted as people quote them.

/** Text that YAML or a reader would mistake for something else. */
const MISREAD =
  /^$|^[-?:](?: |$)|^[,[\]{}#&*!|>'"%@`\s]|: |::|:$| #|\s$|^(?:true|false|null|~)$|^[-+]?\d+(?:\.\d*)?$|^\d+-\d+$|^0[\da-f]+$/i

/** `[22, "5900-5999"]`, `{ v4: 8 }`, `10.0.0.11`. */
export function flow(value) {
  if (Array.isArray(value))
    return `[${value.map((one) => (typeof one === 'string' ? item(one) : flow(one))).join(', ')}]`
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(
      ([key, one]) => `${key}: ${typeof one === 'string' ? item(one) : flow(one)}`,
    )
    return entries.length === 0 ? '{}' : `{ ${entries.join(', ')} }`
  }
  return typeof value === 'string' ? scalar(value) : String(value)
}

const scalar = (text) => (MISREAD.test(text) ? JSON.stringify(text) : text)

/** Text inside brackets, where brackets and commas are syntax. */
const item = (text) => (/[,[\]{}]/.test(text) ? JSON.stringify(text) : scalar(text))
