"""Names of the project's own files that match the given patterns: what git tracks, or, where the tree
is no git checkout (or git will not read it), every file outside build/ and var/."""
import fnmatch
import os
import subprocess
import sys

SKIP = {"build", "var", ".git", "node_modules", "__pycache__", ".hypothesis"}


def walk():
    for folder, folders, names in os.walk("."):
        folders[:] = sorted(d for d in folders if d not in SKIP)
        for name in sorted(names):
            yield os.path.join(folder, name)[2:]


def tracked(*patterns):
    done = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                          capture_output=True, text=True) if os.path.exists(".git") else None
    names = done.stdout.splitlines() if done and done.returncode == 0 and done.stdout else walk()
    return [n for n in names if os.path.exists(n)
            and any(fnmatch.fnmatch(n, p) for p in patterns)]


if __name__ == "__main__":
    print("\n".join(tracked(*sys.argv[1:])))
