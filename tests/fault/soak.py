#!/usr/bin/python3
"""make soak: load for SOAK_SECONDS with a kill each half minute; at the end every accepted entry is in
the ERP file and in the payroll file exactly once. Prints one line that says the result."""
import argparse
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.fault import test_kills as kills  # noqa: E402
from tests.harness import stack  # noqa: E402
from tests.harness.firm import Firm  # noqa: E402
from tests.harness.sender import Sender  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--every", type=float, default=30, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"soak: seed {args.seed}, {args.seconds} s", flush=True)
    rng, firm = random.Random(args.seed), Firm("soak", asan=False).start()
    sender = Sender(firm, 1, 100_000_000, threads=8).start()
    faults = [kills.kill_worker, kills.kill_redis, kills.kill_orchestrator, kills.hang_redis]
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        threading.Event().wait(min(args.every, max(0.0, end - time.monotonic())))
        fault = rng.choice(faults)
        fault(firm, rng)
        print(f"soak: {fault.__name__}; {len(sender.accepted)} accepted", flush=True)
    sender.stopped.set()
    sender.join(60)
    if not firm.orchestrator.process.alive():
        firm.orchestrator.start()
    stack.wait_for(kills.all_posted(firm, sender.accepted), 600, "everything posted")
    kills.assert_exactly_once(firm, sender.accepted)
    wrong = sender.wrong[:5] + kills.findings(firm)[:20]
    for line in wrong:
        print(f"soak: {line}")
    firm.remove()
    print(f"soak: {'failed' if wrong else 'ok'} ({len(sender.accepted)} entries, each once; "
          f"answers {sender.statuses})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
