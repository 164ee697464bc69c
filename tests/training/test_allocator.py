import platform
import subprocess
import sys

import pytest

BLOCKS = """
import resource, sys
from pipeline.training.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def fresh_pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
size = 64 * 2**20
b"x" * size
before = fresh_pages()
for _ in range(5):
    b"x" * size
print(fresh_pages() - before)
"""


def fresh_pages(way: str) -> int:
    done = subprocess.run([sys.executable, "-c", BLOCKS, way], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries keep memory in ways of their own")
def test_large_blocks_that_were_freed_are_taken_again():
    given_back = fresh_pages("given back")
    assert given_back >= 5 * 32  # of 2 MB at most each
    assert fresh_pages("kept") < given_back / 10
