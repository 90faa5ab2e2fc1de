"""`dataset-scripts …`, for a process that has imported the libraries."""

import sys

from dataset_scripts.core.cli import main

sys.exit(main())
