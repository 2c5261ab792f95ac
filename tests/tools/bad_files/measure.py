"""Reads commands from standard input, one JSON object a line, runs each, and prints how it ended.

The system counts memory of the process that starts a command as the command's own. So this process stays small: it does not hold
the files that are tested."""
import json
import os
import subprocess
import sys
import tempfile
import time

HANG_S = 20
MESSAGE_BYTES = 100_000


def ended(process):
    """Waits for the process. Returns its exit code, or None if it took too long and was killed, and the resources that it used."""
    begin = time.monotonic()
    while time.monotonic() - begin < HANG_S:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid != 0:
            return os.waitstatus_to_exitcode(status), usage
        time.sleep(0.001)
    process.kill()
    return None, os.wait4(process.pid, 0)[2]


def execute(arguments, text):
    environment = {key: value for key, value in os.environ.items() if key not in ("SEER_MODEL", "SEER_GATES")}
    environment["SEER_DEVICE"] = "cpu"
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.monotonic()
        process = subprocess.Popen(arguments, env=environment, stdout=out, stderr=err,
                                   stdin=subprocess.PIPE if text else subprocess.DEVNULL)
        if text:
            try:
                process.stdin.write(text.encode())
                process.stdin.close()
            except BrokenPipeError:
                pass
        code, usage = ended(process)
        ms = (time.monotonic() - begin) * 1000
        process.returncode = code if code is not None else -9  # wait4 has taken the exit code, so Popen must not wait
        err.seek(0)
        return {"code": code, "ms": ms, "peak_bytes": usage.ru_maxrss * 1024, "out_bytes": os.fstat(out.fileno()).st_size,
                "message_bytes": os.fstat(err.fileno()).st_size,
                "message": err.read(MESSAGE_BYTES).decode("utf-8", "replace")}


if __name__ == "__main__":
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(execute(command["arguments"], command["stdin"])), flush=True)
