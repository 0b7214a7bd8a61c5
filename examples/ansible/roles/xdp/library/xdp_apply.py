#!/usr/bin/python3
# WANT_JSON
"""An Ansible module that applies a config of xdp, or shows the changes (check mode, diff).

It needs only the standard library of Python 3.7 on the host, not Ansible's helpers: Ansible calls it with a file of
arguments and reads one JSON document.
"""

DOCUMENTATION = r"""
module: xdp_apply
short_description: Apply a packet policy of xdp
description:
  - Writes a config of xdp and applies it, if it differs from the policy in force.
  - Neither the file nor the kernel changes if the config has a mistake or a guard refuses the plan. If the apply fails,
    the old file is restored.
  - Every apply is verified on the host by reading back and by test packets.
version_added: "0.1.0"
author:
  - The authors of xdp-as-code
requirements:
  - xdp on the host
attributes:
  check_mode:
    description: Shows the plan, and changes nothing.
    support: full
  diff_mode:
    description: Shows the difference of the file, and the output of C(xdp plan).
    support: full
options:
  path:
    description: Path of the config on the host.
    type: path
    default: /etc/xdp/xdp.yaml
  content:
    description: Content to write. Without it the module applies the existing file.
    type: str
  mode:
    description: Mode of a written file, in octal digits.
    type: str
    default: "0644"
  instance:
    description: The flag C(--instance) of xdp.
    type: str
  bpffs:
    description: The flag C(--bpffs) of xdp.
    type: path
  lock_timeout:
    description: The flag C(--lock-timeout) of xdp.
    type: str
  wait_interfaces:
    description: The flag C(--wait-interfaces) of C(xdp apply).
    type: str
  accept_shrink:
    description: The flag C(--accept-shrink) of xdp.
    type: bool
    default: false
  accept_growth:
    description: The flag C(--accept-growth) of xdp.
    type: bool
    default: false
  executable:
    description: The command.
    type: str
    default: xdp
"""

EXAMPLES = r"""
- name: Apply a policy from a template
  xdp_apply:
    path: /etc/xdp/xdp.yaml
    content: "{{ lookup('template', 'xdp.yaml.j2') }}"
  register: policy

- name: Apply the existing file, and accept lists that have lost most of their entries
  xdp_apply:
    accept_shrink: true
"""

RETURN = r"""
changes:
  description: Keys of the changed objects, such as C(blocklist) and C(interface:eth0).
  returned: success
  type: list
  elements: str
warnings:
  description: Warnings of the plan.
  returned: success
  type: list
  elements: str
errors:
  description: Errors of C(xdp --json).
  returned: failure of xdp
  type: list
  elements: dict
exit_status:
  description: Exit status of xdp.
  returned: failure of xdp
  type: int
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import traceback

OPTIONS = {
    "path": str,
    "content": str,
    "mode": str,
    "instance": str,
    "bpffs": str,
    "lock_timeout": str,
    "wait_interfaces": str,
    "accept_shrink": bool,
    "accept_growth": bool,
    "executable": str,
}
NAMES = {str: "string", bool: "boolean"}
# Booleans as templates render them.
WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Failure(Exception):
    """A failure whose message goes to the user unchanged."""

    def __init__(self, message, **facts):
        super().__init__(message)
        self.facts = facts


def read_options(path):
    with open(path, encoding="utf-8") as file:
        given = json.load(file)
    options = {"path": "/etc/xdp/xdp.yaml", "mode": "0644", "executable": "xdp"}
    for name, value in given.items():
        if name.startswith("_ansible_") or value is None:
            continue
        kind = OPTIONS.get(name)
        if kind is None:
            raise Failure("unknown option %s; valid options are %s" % (name, ", ".join(OPTIONS)))
        if kind is bool:
            value = WORDS.get(str(value).lower(), value)
        if not isinstance(value, kind):
            raise Failure("%s must be a %s" % (name, NAMES[kind]))
        options[name] = value
    if not re.fullmatch("0?[0-7]{3}", options["mode"]):
        raise Failure('mode must be three octal digits in quotes, such as "0640"')
    options["path"] = os.path.abspath(options["path"])
    options["check"] = given.get("_ansible_check_mode", False)
    options["diff"] = given.get("_ansible_diff", False)
    return options


def read(path):
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except UnicodeDecodeError:
        raise Failure("%s is not UTF-8" % path)


def beside(path):
    """A path in the same directory, because relative paths in a config start there; the dot hides it from patterns."""
    name = ".%s.%s" % (os.path.basename(path), os.urandom(6).hex())
    return os.path.join(os.path.dirname(path), name)


def write(path, text, mode):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.chmod(path, mode)


def put(path, text, mode):
    """Writes a file atomically."""
    partial = beside(path)
    try:
        write(partial, text, mode)
        os.rename(partial, path)
    except OSError:
        remove(partial)
        raise


def remove(path):
    if os.path.exists(path):
        os.unlink(path)


def text_of(error):
    """`file:line:column: error[E020 bad-address]: message`, and the hint."""
    at = error.get("at")
    place = "%s:%d:%d: " % (at["file"], at["line"], at["column"]) if at else ""
    hint = "\nhint: %s" % error["hint"] if error.get("hint") else ""
    return "%serror[%s %s]: %s%s" % (place, error["code"], error["name"], error["message"], hint)


def run_command(argv):
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        raise Failure("%s is not installed" % argv[0])
    except OSError as error:
        raise Failure("cannot run %s: %s" % (argv[0], error.strerror))


def xdp(options, file, command, *flags):
    """Runs xdp and returns its output, with the path of a trial config replaced by the real one."""
    argv = [options["executable"], command, "--file", file]
    for flag in ("instance", "bpffs", "lock_timeout"):
        if flag in options:
            argv += ["--" + flag.replace("_", "-"), options[flag]]
    ran = run_command(argv + list(flags))
    output = ran.stdout.decode("utf-8", "replace").replace(file, options["path"])
    if ran.returncode == 0:
        return output
    try:
        errors = json.loads(output).get("errors", [])
    except (ValueError, AttributeError):
        errors = []
    texts = [text_of(error) for error in errors if error["severity"] == "error"]
    words = ran.stderr.decode("utf-8", "replace").strip()
    message = "\n".join(texts) or words or "%s ended with status %d" % (options["executable"], ran.returncode)
    raise Failure(message, exit_status=ran.returncode, errors=errors)


def document(options, output, *fields):
    """The JSON document that xdp has printed."""
    try:
        found = json.loads(output)
        if all(field in found for field in fields):
            return found
    except (ValueError, TypeError):
        pass
    raise Failure("%s printed no document of xdp: executable must name xdp-as-code" % options["executable"])


def accepting(options):
    """The flags that accept feeds."""
    return ["--" + name.replace("_", "-") for name in ("accept_shrink", "accept_growth") if options.get(name)]


def plan(options, file):
    """The plan for a file, as data, and as text with --diff."""
    flags = accepting(options)
    found = document(options, xdp(options, file, "plan", "--json", *flags), "changes", "warnings")
    shows = options["diff"] and len(found["changes"]) > 0
    return {
        "changes": [change["key"] for change in found["changes"]],
        "warnings": [warning["message"] for warning in found["warnings"]],
    }, xdp(options, file, "plan", "--no-color", *flags) if shows else None


def apply(options):
    wait = ["--wait-interfaces", options["wait_interfaces"]] if "wait_interfaces" in options else []
    flags = ["--auto-approve", "--json", *wait, *accepting(options)]
    return document(options, xdp(options, options["path"], "apply", *flags), "changed")


def without_secrets(text):
    """The text with the fingerprint that xdp shows in place of a hash key: differences go to logs."""

    def shown(key):
        return "(fingerprint %s)" % hashlib.sha256(("xdp " + key.group().lower()).encode()).hexdigest()[:8]

    return re.sub(r"\b[0-9a-fA-F]{32}\b", shown, text)


def difference(options, before, after, text):
    path = options["path"]
    file = {
        "before_header": path,
        "after_header": path,
        "before": without_secrets(before or ""),
        "after": without_secrets(after),
    }
    return ([] if before == after else [file]) + ([] if text is None else [{"prepared": text}])


def obstacle(options):
    """Why check mode cannot make a plan: the host is not set up yet."""
    directory = os.path.dirname(options["path"])
    if not os.path.exists(directory):
        return "%s does not exist yet" % directory
    try:
        run_command([options["executable"], "--version"])
        return None
    except Failure:
        return "%s is not installed yet" % options["executable"]


def plan_text(options, text, edited):
    """The plan for a text that may not be written yet."""
    if not edited:
        return plan(options, options["path"])
    trial = beside(options["path"])
    try:
        write(trial, text, 0o600)
        return plan(options, trial)
    finally:
        remove(trial)


def apply_text(options, text, before):
    """Writes and applies a text; restores the old file if that fails."""
    path = options["path"]
    old = None if before is None else os.stat(path).st_mode & 0o7777
    put(path, text, int(options["mode"], 8))
    try:
        return apply(options)
    except Exception:
        if before is None:
            remove(path)
        else:
            put(path, before, old)
        raise


def run(options):
    path, content = options["path"], options.get("content")
    before = read(path)
    edited = content is not None and content != before
    after = content if content is not None else before or ""
    hindered = obstacle(options) if options["check"] else None
    if hindered is not None:
        return {"changed": True, "msg": hindered, "diff": difference(options, before, after, None)}
    os.makedirs(os.path.dirname(path), exist_ok=True)
    planned, text = plan_text(options, after, edited)
    result = dict(planned, diff=difference(options, before, after, text))
    if options["check"]:
        return dict(result, changed=edited or len(planned["changes"]) > 0)
    applied = apply_text(options, after, before) if edited else apply(options)
    return dict(result, changed=applied["changed"] or edited)


def main():
    try:
        print(json.dumps(run(read_options(sys.argv[1]))))
    except Failure as failure:
        print(json.dumps(dict(failure.facts, failed=True, msg=str(failure))))
        sys.exit(1)
    except OSError as error:
        print(json.dumps({"failed": True, "msg": "%s: %s" % (error.filename, error.strerror)}))
        sys.exit(1)
    except Exception:
        print(json.dumps({"failed": True, "msg": traceback.format_exc()}))
        sys.exit(1)


if __name__ == "__main__":
    main()
