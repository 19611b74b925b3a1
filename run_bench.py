"""Run the benchmark from a checkout: ``python run_bench.py --methods podd,rat_bptt --budgets 0.3,0.5,1``."""

import sys

from bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
