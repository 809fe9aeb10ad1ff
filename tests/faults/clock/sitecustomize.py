"""A wall clock that is wrong: on PYTHONPATH, it moves what Python tells of the time by B3OS_TEST_CLOCK_OFFSET_S.

The monotonic clock stays, as it does when an administrator sets the wall clock.
"""

import os
import time

_offset_s = float(os.environ["B3OS_TEST_CLOCK_OFFSET_S"])
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _offset_s
time.time_ns = lambda: _time_ns() + int(_offset_s * 1e9)
