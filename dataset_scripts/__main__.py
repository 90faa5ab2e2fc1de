"""`python -m dataset_scripts`: the command `dataset-scripts`."""

import sys

from dataset_scripts.core.cli import main

sys.exit(main())
