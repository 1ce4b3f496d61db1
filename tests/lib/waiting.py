"""Wait for a condition with a deadline, never for a fixed time."""
import time


def wait_for(condition, what, timeout=10.0, interval=0.01):
    """The first true value of condition(); AssertionError naming `what` after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what} (last: {value!r})")
        time.sleep(interval)
