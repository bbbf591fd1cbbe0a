#!/usr/bin/env python3
"""Holds the repository to its rules: layers, banned calls, sizes, purpose comments, READMEs, formatting.

Prints what it finds and 'N passed, N failed' (files); the exit code is 1 if any failed. Warnings don't fail.
"""

import argparse
import subprocess
import sys
import unittest
from pathlib import Path

import checks

ROOT = Path(__file__).resolve().parents[2]


def tracked(root):
    """Paths of the files that git knows and that exist."""
    names = subprocess.run(["git", "ls-files"], cwd=root, text=True, capture_output=True, check=True).stdout
    return [name for name in names.splitlines() if (Path(root) / name).is_file()]


def lint(root, paths, formatting=True):
    """All findings for these files of the tree at root."""
    sources = [checks.Source(root, path) for path in paths]
    findings = [finding for source in sources for check in checks.PER_FILE for finding in check(source)]
    findings += checks.readmes(set(paths))
    findings += checks.unread_settings(sources)
    if "README.md" in paths:
        findings += checks.samples(root)
        findings += checks.coverage(root)
    if formatting:
        findings += checks.clang_format(root, sources)
    return sorted(findings, key=lambda finding: (finding.path, finding.line))


def self_test():
    """The checks on planted mistakes; a lint that finds nothing must not be one that looks for nothing."""
    suite = unittest.defaultTestLoader.discover(str(Path(__file__).parent), "test_*.py")
    result = unittest.TextTestRunner(verbosity=0).run(suite)
    return result.testsRun - len(result.failures) - len(result.errors), len(result.failures) + len(result.errors)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quiet", action="store_true", help="no warnings")
    options = parser.parse_args()
    passed, failed = self_test()
    paths = tracked(ROOT)
    findings = lint(ROOT, paths)
    for finding in findings:
        if not (options.quiet and finding.warning):
            print(finding)
    bad = {finding.path for finding in findings if not finding.warning}
    warnings = sum(finding.warning for finding in findings)
    print(f"{len(paths)} files, {warnings} warnings")
    # A folder without README counts as a failure of its own.
    passed += sum(path not in bad for path in paths)
    failed += len(bad)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
